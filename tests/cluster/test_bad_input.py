"""What a user sees who makes a mistake: the cause and the remedy in one condition, pods that serve on, healing."""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from tests.cluster import programs
from tests.cluster.pools import KIND, Namespace, pool
from tests.localcluster.deploy import POSTGRES
from tests.localcluster.problem import Problem

POOL, ALONE = "good", "alone"  # with two pods, of which one tries a change first, and with a single pod
MOST = 10
PSQL = ["psql", "$(URL)", "-XAtc", "SELECT 1"]
Say = Callable[[str], None]


@pytest.fixture(scope="module")
def serving(here: Namespace) -> Namespace:
    """The namespace with pools that are well, and a server without TLS beside the first."""
    without_tls(here)
    here.apply(pool(POOL, MOST))
    here.apply(pool(ALONE, 2, replicas=1))
    here.wait_ready(POOL)
    here.wait_ready(ALONE)
    return here


def without_tls(here: Namespace) -> None:
    """A second PostgreSQL `plain` like the first, but with TLS switched off."""
    text = POSTGRES.read_text(encoding="utf-8").replace("POSTGRES_IMAGE", here.site.reference("postgres"))
    for body in yaml.safe_load_all(text):
        if body["kind"] in {"Service", "Deployment"}:
            body["metadata"]["name"] = "plain"
            spec = body["spec"]
            if body["kind"] == "Service":
                spec["selector"] = {"app": "plain"}
            else:
                spec["selector"]["matchLabels"] = spec["template"]["metadata"]["labels"] = {"app": "plain"}
                spec["template"]["spec"]["containers"][0]["args"] += ["-c", "ssl=off"]
            here.apply(body)
    here.kubectl("rollout", "status", "deployment/plain", "--timeout=120s")


@dataclass(frozen=True, slots=True)
class Mistake:
    """A change of a pool that is well, what the user is told, and the change that mends it."""

    sentence: str
    change: dict[str, Any]
    reason: str
    words: tuple[str, ...]
    mend: dict[str, Any] = field(default_factory=lambda: {"backend": {"host": "postgres", "port": 5432}})


MISTAKES = (
    Mistake(
        "a host that does not resolve",
        {"backend": {"host": "nowhere.invalid"}},
        "HostNotResolved",
        ("nowhere.invalid", "Correct backend.host"),
    ),
    Mistake(
        "a port that refuses",
        {"backend": {"port": 5433}},
        "BackendUnreachable",
        ("postgres:5433: Connection refused", "backend.port"),
    ),
    Mistake(
        "a server without TLS",
        {"backend": {"host": "plain"}},
        "BackendWithoutTls",
        ("plain:5432 offers no TLS", "backend.tls.mode"),
    ),
    Mistake(
        "a database that does not exist",
        {"databases": [{"name": "shop", "backendName": "shoop"}]},
        "BackendDatabaseMissing",
        ('database "shoop" does not exist',),
        {"databases": [{"name": "shop"}]},
    ),
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake.sentence for mistake in MISTAKES])
def test_a_mistake_about_the_server_is_told_in_its_own_words_and_heals(
    serving: Namespace, mistake: Mistake, say: Say
) -> None:
    lives = serving.lives(ALONE)
    began = time.monotonic()
    serving.patch(ALONE, **mistake.change)
    try:
        message = serving.wait_condition(ALONE, "BackendReachable", "False", mistake.reason)
        told = time.monotonic() - began
        assert all(words in message for words in mistake.words), message
        serving.wait_condition(ALONE, "Ready", "False", mistake.reason)
        assert serving.serving(ALONE) == 1  # a backend's outage is not the pool's
    finally:
        began = time.monotonic()
        serving.patch(ALONE, **mistake.mend)
        serving.wait_ready(ALONE)
    say(f"{mistake.sentence}: told after {told:.1f} s, healed after {time.monotonic() - began:.1f} s")
    assert serving.lives(ALONE) == lives


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake.sentence for mistake in MISTAKES])
def test_a_mistake_about_the_server_stops_at_one_pod_and_the_pool_goes_on_as_before(
    serving: Namespace, mistake: Mistake, say: Say
) -> None:
    lives = serving.lives(POOL)
    began = time.monotonic()
    serving.patch(POOL, **mistake.change)
    try:
        message = serving.wait_condition(POOL, "ConfigurationApplied", "False", "CanaryFailed")
        told = time.monotonic() - began
        assert all(words in message for words in mistake.words), message
        assert "The previous configuration stays in use." in message
        serving.wait_condition(POOL, "Stalled", "True", "CanaryFailed")
        assert serving.condition(POOL, "BackendReachable")["status"] == "True"
        name = f"still-{MISTAKES.index(mistake)}"
        select = programs.pod(serving, name, PSQL, f"{POOL}-connection", {"URL": "DATABASE_URL"})
        assert programs.output(serving, select).strip() == "1"
        assert serving.serving(POOL) == 2
    finally:
        began = time.monotonic()
        serving.patch(POOL, **mistake.mend)
        serving.wait_ready(POOL)
    say(f"{mistake.sentence}, two pods: told after {told:.1f} s, healed after {time.monotonic() - began:.1f} s")
    assert serving.lives(POOL) == lives


def test_a_wrong_password_is_told_in_postgresqls_words_and_heals(serving: Namespace, say: Say) -> None:
    create_secret(serving, "mistyped", username="shop", password="wrong")
    began = time.monotonic()
    serving.apply(pool("denied", 2, users=[{"name": "shop", "secretRef": {"name": "mistyped"}}], replicas=1))
    message = serving.wait_condition("denied", "BackendReachable", "False", "BackendRefusedLogin")
    told = time.monotonic() - began
    assert 'password authentication failed for user "shop"' in message
    serving.wait(lambda: serving.serving("denied") == 1, "the pod in the Service")
    lives = serving.lives("denied")
    began = time.monotonic()
    create_secret(serving, "mistyped", username="shop", password=password(serving))
    serving.wait_ready("denied")
    say(f"a wrong password: told {told:.1f} s after apply, healed {time.monotonic() - began:.1f} s after it was mended")
    assert serving.lives("denied") == lives
    serving.delete("denied")


def password(here: Namespace) -> str:
    return base64.b64decode(here.get("secret", "shop-db")["data"]["password"]).decode()


def test_a_deleted_secret_is_told_and_the_last_good_login_keeps_serving(serving: Namespace) -> None:
    create_secret(serving, "fleeting", username="shop", password=password(serving))
    serving.apply(pool("bereft", 2, users=[{"name": "shop", "secretRef": {"name": "fleeting"}}], replicas=1))
    serving.wait_ready("bereft")
    lives = serving.lives("bereft")
    serving.kubectl("delete", "secret", "fleeting")
    serving.patch("bereft", timeouts={"queryWaitSeconds": 31})  # the operator looks at Secrets when the pool changes
    message = serving.wait_condition("bereft", "CredentialsAvailable", "False", "SecretNotFound")
    assert message.startswith("Secret fleeting does not exist.")
    serving.wait_condition("bereft", "ConfigurationApplied", "True")
    select = programs.pod(serving, "select", PSQL, "bereft-connection", {"URL": "DATABASE_URL"})
    assert programs.output(serving, select).strip() == "1"
    assert (serving.lives("bereft"), serving.serving("bereft")) == (lives, 1)
    create_secret(serving, "fleeting", username="shop", password=password(serving))
    serving.wait_ready("bereft")
    serving.delete("bereft")


def test_a_missing_secret_is_named_and_its_coming_heals(serving: Namespace, say: Say) -> None:
    users = [{"name": "shop", "secretRef": {"name": "late"}}]
    serving.apply(pool("no-secret", 2, users=users, replicas=1))
    message = serving.wait_condition("no-secret", "CredentialsAvailable", "False", "SecretNotFound")
    assert message == "Secret late does not exist. Create it, or correct users[shop].secretRef.name."
    assert serving.wait_condition("no-secret", "Ready", "False", "SecretNotFound") == message
    began = time.monotonic()
    create_secret(serving, "late", username="shop", password=password(serving))
    serving.wait_ready("no-secret")
    say(f"a missing Secret: healed {time.monotonic() - began:.1f} s after it was created")
    serving.delete("no-secret")


def create_secret(here: Namespace, name: str, **values: str) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
    here.apply(body)


def test_a_missing_key_is_named_with_those_that_are_there(serving: Namespace) -> None:
    create_secret(serving, "keyless", username="shop", uri="x", pass_word=password(serving))
    users = [{"name": "shop", "secretRef": {"name": "keyless"}}]
    serving.apply(pool("no-key", 2, users=users, replicas=1))
    message = serving.wait_condition("no-key", "CredentialsAvailable", "False", "SecretKeyMissing")
    assert message == (
        "Secret keyless has no key password; found: pass_word, uri, username. Set users[shop].passwordKey."
    )
    serving.patch("no-key", users=[{**users[0], "passwordKey": "pass_word"}])
    serving.wait_ready("no-key")
    serving.delete("no-key")


def test_more_pods_than_connections_are_not_started(serving: Namespace) -> None:
    serving.apply(pool("small", 2, replicas=6))
    message = serving.wait_condition("small", "WithinBudget", "False", "ReplicasClamped")
    assert message.startswith("6 wanted, 2 fit: serverConnections.max is 2")
    serving.wait_ready("small")
    assert len(serving.pods("small")) == 2
    serving.patch("small", serverConnections={"max": 6})
    serving.wait_condition("small", "WithinBudget", "True")
    serving.wait_ready("small")
    assert len(serving.pods("small")) == 6
    serving.delete("small")


@pytest.mark.parametrize("kind", ["Service", "ConfigMap", "Secret"])
def test_a_foreign_object_of_a_childs_name_is_left_byte_for_byte(serving: Namespace, kind: str) -> None:
    name = {"Service": "taken", "ConfigMap": "taken-pgbouncer", "Secret": "taken-connection"}[kind]
    body: dict[str, Any] = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": {"of": "others"}}}
    body |= {"spec": {"ports": [{"port": 80}]}} if kind == "Service" else {"data": {"current.json": "e30="}}
    serving.apply(body)
    before = serving.kubectl("get", kind, name, "--output=yaml", "--show-managed-fields")
    serving.apply(pool("taken", 2, replicas=1))
    message = serving.wait_condition("taken", "Stalled", "True", "NameConflict")
    assert message.startswith(f"{kind} {name}: ")
    assert "Delete or rename it, or give the pool another name." in message
    assert serving.kubectl("get", kind, name, "--output=yaml", "--show-managed-fields") == before
    serving.kubectl("delete", kind, name)
    serving.wait_ready("taken")
    serving.delete("taken")


BAD_PARAMETERS = (
    ({"no_such_setting": 1}, "no_such_setting"),
    ({"pool_mode": "session"}, "poolMode"),
    ({"max_prepared_statements": "many"}, "max_prepared_statements"),
    ({"login_notify_message": "two\nlines"}, "login_notify_message"),
)


@pytest.mark.parametrize(("parameters", "named"), BAD_PARAMETERS, ids=[named for _, named in BAD_PARAMETERS])
def test_a_bad_parameter_is_refused_by_the_api_server_and_nothing_changes(
    serving: Namespace, parameters: dict[str, Any], named: str
) -> None:
    before = serving.get(KIND, POOL)["spec"]
    with pytest.raises(Problem, match=rf"(?s)is invalid.*{named}"):
        serving.patch(POOL, parameters=parameters)
    assert serving.get(KIND, POOL)["spec"] == before
    serving.wait_ready(POOL)
