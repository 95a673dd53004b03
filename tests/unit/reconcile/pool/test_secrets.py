"""What the operator makes of a user's Secret, and what it says of one that is not usable."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.reconcile.looks import SPEC, healthy, pool, saying

from pgbouncer_operator.api.access import User
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.reconcile.memory import Missing, SecretsRead
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pool.secrets import (
    READ_AGAIN,
    login_of,
    mounted_last,
    owed,
    shared_login,
    should_read,
    with_new_mounts,
)
from pgbouncer_operator.reconcile.specification import read
from pgbouncer_operator.resources.connection_secret import secret_inputs
from pgbouncer_operator.resources.login import Login

PASSWORD = "c4n4ry"
LINE_BREAK = "the control character U+000A: remove it from the Secret (a last newline, often)"


def user(**fields: str) -> User:
    return User.model_validate({"name": "shop", "secretRef": {"name": "shop-db"}, **fields})


def secret(**data: str | bytes) -> dict[str, object]:
    plain = {key: value if isinstance(value, bytes) else value.encode() for key, value in data.items()}
    return {"data": {key: base64.b64encode(value).decode() for key, value in plain.items()}}


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ({}, {"username": "app", "password": PASSWORD}),
        ({}, {"user": "app", "password": PASSWORD}),
        ({}, {"username": "app", "user": "not this", "password": PASSWORD}),
        ({"usernameKey": "login", "passwordKey": "pw"}, {"login": "app", "pw": PASSWORD, "password": "not this"}),
    ],
)
def test_login_and_password_are_found(fields: dict[str, str], data: dict[str, str]) -> None:
    assert login_of(user(**fields), secret(**data)) == Login("app", PASSWORD)


@pytest.mark.parametrize(
    ("fields", "data", "reason", "message"),
    [
        ({}, None, "SecretNotFound",
         "Secret shop-db does not exist. Create it, or correct users[shop].secretRef.name."),
        ({}, {"uri": PASSWORD, "username": "app"}, "SecretKeyMissing",
         "Secret shop-db has no key password; found: uri, username. Set users[shop].passwordKey."),
        ({}, {"password": PASSWORD}, "SecretKeyMissing",
         "Secret shop-db has no key username or user; found: password. Set users[shop].usernameKey."),
        ({"usernameKey": "login"}, {}, "SecretKeyMissing",
         "Secret shop-db has no key login; found: nothing. Set users[shop].usernameKey."),
        ({}, {"username": "app", "password": PASSWORD + "\n"}, "SecretValueInvalid",
         f"Secret shop-db: the password of 'app' holds {LINE_BREAK}."),
        ({}, {"username": "app", "password": f"SCRAM-SHA-256$4096:{PASSWORD}"}, "SecretValueInvalid",
         "Secret shop-db: the password of 'app' is a hash: put the password itself into the Secret."),
        ({}, {"username": "app", "password": PASSWORD * 11_000}, "SecretValueInvalid",
         "Secret shop-db: the password of 'app' is longer than 65531 bytes: use a shorter one."),
        ({}, {"username": "app", "password": b"\xff\xfe"}, "SecretValueInvalid",
         "Secret shop-db: login or password is not UTF-8 text. Correct it."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_the_remedy_and_never_a_value(
    fields: dict[str, str], data: dict[str, str] | None, reason: str, message: str
) -> None:
    found = login_of(user(**fields), None if data is None else secret(**data))
    assert isinstance(found, Missing)
    assert (found.reason.value, found.message) == (reason, message)
    assert PASSWORD not in found.message


def test_one_login_with_two_passwords_is_told_with_both_handles_and_no_password() -> None:
    logins = {"shop": Login("app", PASSWORD), "web": Login("web", PASSWORD), "reports": Login("app", "other")}
    found = shared_login(logins)
    assert found is not None
    assert found.reason is Reason.SECRET_VALUE_INVALID
    assert found.message.startswith("The Secrets of users[shop] and users[reports] hold the same login")
    assert PASSWORD not in found.message
    assert "other" not in found.message.replace("another", "")


def test_one_login_with_one_password_is_no_fault_whatever_the_handles() -> None:
    missing = Missing(Reason.SECRET_NOT_FOUND, "Secret x does not exist.")
    assert shared_login({"shop": Login("app", PASSWORD), "reports": Login("app", PASSWORD), "x": missing}) is None


def asked(**spec: Any) -> str:
    return secret_inputs(read(pool(**spec)))


def after_a_read(missing: Missing | None = None) -> Observed:
    """A healthy pool a second after its users' Secrets were read."""
    mounted = {(uid, "shop"): "..1" for uid in ("a", "b")}
    return healthy().remember(reading=SecretsRead(999.0, asked(), missing, mounted))


SHOP = SPEC["users"][0]


@pytest.mark.parametrize(
    "spec",
    [
        {"poolMode": "session"},
        {"timeouts": {"queryWaitSeconds": 17}},
        {"parameters": {"log_connections": "0"}},
        {"replicas": 5},
        {"serverConnections": {"max": 40}},
        {"users": [SHOP | {"serverConnections": {"max": 5}}]},
        {"databases": [{"name": "shop", "serverConnections": {"max": 5}}]},
        {"pod": {"nodeSelector": {"disk": "fast"}}},
    ],
)
def test_a_change_that_concerns_no_secret_reads_none(spec: dict[str, Any]) -> None:
    assert read(pool(**spec)) != read(pool()), "the change is one"
    assert not should_read(after_a_read(), asked(**spec))


@pytest.mark.parametrize(
    "spec",
    [
        {"users": [SHOP | {"secretRef": {"name": "other"}}]},
        {"users": [SHOP | {"usernameKey": "login"}]},
        {"users": [SHOP | {"passwordKey": "pw"}]},
        {"users": [SHOP, {"name": "reports", "secretRef": {"name": "shop-db"}}]},
        {"backend": {"host": "elsewhere"}},
        {"backend": {"host": "postgres", "port": 5433}},
        {"backend": {"host": "postgres", "tls": {"mode": "disable"}}},
        {"databases": [{"name": "shop", "backendName": "shop_v2"}]},
        {"databases": [{"name": "shop"}, {"name": "more"}]},
        {"service": {"port": 5432}},
        {"service": {"externalHost": "db.example.com"}},
        {"connectionSecrets": []},
        {"connectionSecrets": [{"name": "mine", "database": "shop", "user": "shop"}]},
        {"connectionSecrets": [{"name": "shop", "database": "shop", "user": "shop", "endpoint": "Backend"}]},
    ],
)
def test_a_change_that_reaches_a_connection_secret_reads_what_it_is_made_of(spec: dict[str, Any]) -> None:
    assert should_read(after_a_read(), asked(**spec))


def test_secrets_are_read_at_first_while_one_is_missing_when_a_pod_got_another_and_now_and_then() -> None:
    assert should_read(healthy(), asked())
    assert not should_read(after_a_read(), asked())
    assert should_read(after_a_read(Missing(Reason.SECRET_NOT_FOUND, "Create it.")), asked())
    rotated = {"shop": {"ok": True, "message": "", "generation": "..2"}}
    assert should_read(saying(after_a_read(), "b", users=rotated), asked())
    assert should_read(replace(after_a_read(), now=1000.0 + READ_AGAIN), asked())


def test_a_secret_that_changes_in_a_pod_that_came_after_the_read_is_read_again() -> None:
    first = healthy().remember(reading=SecretsRead(999.0, asked(), None, {}))
    known = with_new_mounts(first)
    assert not should_read(first, asked())
    assert not should_read(known, asked())
    assert should_read(saying(known, "b", users={"shop": {"ok": True, "message": "", "generation": "..2"}}), asked())


@pytest.mark.parametrize("volume", ["ca", "tls"])
def test_a_certificate_that_changes_in_a_pod_is_read_again_for_the_connection_secrets(volume: str) -> None:
    known = with_new_mounts(saying(after_a_read(), "a", certificates={volume: "..1"}))
    assert not should_read(saying(known, "a", certificates={volume: "..1"}), asked())
    assert should_read(saying(known, "a", certificates={volume: "..2"}), asked())


def test_nothing_new_to_remember_leaves_the_look_as_it_is() -> None:
    known = after_a_read()
    assert with_new_mounts(known) is known


def test_a_pod_owes_the_content_that_a_secret_has_had_since_until_kubelet_brings_it() -> None:
    mounted = {("a", "shop"): "1", ("b", "shop"): "1", ("a", "blog"): "7"}
    before = SecretsRead(0.0, "asked", None, mounted, contents={"shop": "old", "blog": "same"})
    now = replace(before, contents={"shop": "new", "blog": "same"}, mounted={**mounted, ("b", "shop"): "2"})
    assert owed(before, now) == {("a", "shop"): "1"}, "b has it, and blog's is the same"
    again = replace(now, owed=owed(before, now))
    assert owed(again, again) == {("a", "shop"): "1"}, "a later read of the same changes nothing"
    assert owed(again, replace(again, mounted={("a", "shop"): "2"})) == {}
    assert owed(None, now) == {}, "after a restart nobody knows what was before: kubelet brings it by itself"
    assert owed(before, replace(now, asked="another reference")) == {}, "that rolls the pods"
    assert owed(again, replace(again, asked="another database")) == {("a", "shop"): "1"}, "owed before, and still"


def test_a_pod_that_does_not_answer_while_a_secret_changes_owes_it_too() -> None:
    before = after_a_read()
    silent = replace(before, states={**before.states, "b": None})
    known = mounted_last(before)
    assert known["b", "shop"]
    assert mounted_last(silent.remember(reading=SecretsRead(999.0, asked(), None, known))) == known
    gone = replace(silent, pods=tuple(pod for pod in silent.pods if pod.uid != "b"))
    assert ("b", "shop") not in mounted_last(gone.remember(reading=SecretsRead(999.0, asked(), None, known)))
