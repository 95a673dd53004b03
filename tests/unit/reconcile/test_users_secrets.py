"""What the operator makes of a user's Secret, and what it says of one that is not usable."""

import base64

import pytest

from pgbouncer_operator.api.access import User
from pgbouncer_operator.reconcile.observe import _login
from pgbouncer_operator.reconcile.observed import Missing
from pgbouncer_operator.resources.connection_secret import Login

PASSWORD = "c4n4ry"


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
    assert _login(user(**fields), secret(**data)) == Login("app", PASSWORD)


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
         "Secret shop-db: login or password has a line break or control character. Remove it."),
        ({}, {"username": "app", "password": b"\xff\xfe"}, "SecretValueInvalid",
         "Secret shop-db: login or password is not UTF-8 text. Correct it."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_the_remedy_and_never_a_value(
    fields: dict[str, str], data: dict[str, str] | None, reason: str, message: str
) -> None:
    found = _login(user(**fields), None if data is None else secret(**data))
    assert isinstance(found, Missing)
    assert (found.reason.value, found.message) == (reason, message)
    assert PASSWORD not in found.message
