import base64
import traceback
from typing import Any

import pytest

from pgbouncer_operator.api.access import AuthQuery, SecretReference, User
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.postgres_server import Monitoring, MonitoringSecret
from pgbouncer_operator.resources.login import Login, LoginUnavailable, read_login

REFERENCE = SecretReference(name="shop-db")
USER = User(name="shop", secret_ref=REFERENCE)


def secret(**values: str) -> dict[str, Any]:
    return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}}


@pytest.mark.parametrize(
    ("reference", "body"),
    [
        (USER, secret(username="shop", user="other", password="x")),
        (USER, secret(user="shop", password="x")),
        (User(name="a", secret_ref=REFERENCE, username_key="l", password_key="p"), secret(l="shop", p="x", user="u")),
        (User(name="a", secret_ref=REFERENCE, url_key="uri"), secret(uri="postgres://shop:x@db/shop\n", username="u")),
        (AuthQuery(secret_ref=REFERENCE, database="shop"), secret(username="shop", password="x")),
        (Monitoring(secret_ref=MonitoringSecret(name="shop-db")), secret(user="shop", password="x")),
    ],
)
def test_a_login_is_read_from_the_named_keys_or_from_username_and_user(reference: Any, body: dict[str, Any]) -> None:
    assert read_login(reference, "users[shop]", body) == Login("shop", "x")


@pytest.mark.parametrize(
    ("body", "reason", "message"),
    [
        (None, Reason.SECRET_NOT_FOUND, "Secret shop-db does not exist. Create it, or correct monitoring.secretRef."),
        ({}, Reason.SECRET_KEY_MISSING, "Secret shop-db has no key username or user; found: nothing."),
        (secret(user="", password="x"), Reason.SECRET_KEY_MISSING, "no key username or user; found: password, user."),
        (secret(user="shop", pass_word="x"), Reason.SECRET_KEY_MISSING, "Set monitoring.passwordKey."),
        ({"data": {"user": "/w==", "password": "eA=="}}, Reason.SECRET_VALUE_INVALID, "not UTF-8 text. Correct it."),
        ({"data": {"user": "a", "password": "eA=="}}, Reason.SECRET_VALUE_INVALID, "not UTF-8 text. Correct it."),
    ],
)
def test_a_login_that_cannot_be_read_names_the_fault_and_the_remedy(
    body: dict[str, Any] | None, reason: Reason, message: str
) -> None:
    with pytest.raises(LoginUnavailable) as raised:
        read_login(Monitoring(secret_ref=MonitoringSecret(name="shop-db")), "monitoring", body)
    assert raised.value.reason is reason
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("body", "reason", "message"),
    [
        (
            secret(url="x"),
            Reason.SECRET_KEY_MISSING,
            "Secret shop-db has no key uri; found: url. Set users[",
        ),
        (secret(uri="postgres://shop@db"), Reason.SECRET_VALUE_INVALID, "Secret shop-db: key uri has no password: "),
        (secret(uri="hush"), Reason.SECRET_VALUE_INVALID, "Secret shop-db: key uri is not a URL that begins with"),
        (
            {"data": {"uri": "/w=="}},
            Reason.SECRET_VALUE_INVALID,
            "Secret shop-db: key uri is not UTF-8 text: ",
        ),
    ],
)
def test_a_url_without_a_login_names_the_key_and_the_remedy(body: dict[str, Any], reason: Reason, message: str) -> None:
    with pytest.raises(LoginUnavailable) as raised:
        read_login(User(name="shop", secret_ref=REFERENCE, url_key="uri"), "users[shop]", body)
    assert raised.value.reason is reason
    assert str(raised.value).startswith(message)


def test_no_value_of_the_secret_is_in_a_traceback() -> None:
    value = "/w=" + "="  # in two parts, because a traceback shows the lines of this test
    with pytest.raises(LoginUnavailable) as raised:
        read_login(USER, "users[shop]", {"data": {"user": value, "password": value}})
    assert value not in "".join(traceback.format_exception(raised.value)) + repr(Login(value, value))
