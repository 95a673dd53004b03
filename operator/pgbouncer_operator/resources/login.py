"""A login and its password, and how they are read from a Secret. Pure."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgbouncer_operator.api.access import AuthQuery, User
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.postgres_server import Monitoring
from pgbouncer_operator.pgbouncer import server_url
from pgbouncer_operator.pgbouncer.server_url import UrlError


@dataclass(frozen=True, slots=True)
class Login:
    """A PostgreSQL role's name and password. Neither is in `repr`, and so neither is in a traceback."""

    username: str = field(repr=False)
    password: str = field(repr=False)


class LoginUnavailable(Exception):
    """A Secret holds no usable login. The message names the Secret, the fault and the remedy, and holds no value."""

    def __init__(self, reason: Reason, message: str) -> None:
        """reason: the kind of fault, for a condition."""
        super().__init__(message)
        self.reason = reason


def read_login(reference: User | AuthQuery | Monitoring, path: str, secret: Mapping[str, Any] | None) -> Login:
    """Read the login and password that a field of a spec refers to. Raises LoginUnavailable.

    path: the field as its user writes it, for messages, such as `users[shop]`.
    secret: the body of the Secret; None if there is no such Secret.
    """
    name = reference.secret_ref.name
    if secret is None:
        message = f"Secret {name} does not exist. Create it, or correct {path}.secretRef.name."
        raise LoginUnavailable(Reason.SECRET_NOT_FOUND, message)
    data: Mapping[str, str] = secret.get("data") or {}
    if isinstance(reference, User) and reference.url_key:
        return _login_in_url(reference.url_key, path, name, data)
    username_key = reference.username_key or ("username" if "username" in data else "user")
    for key, remedy in ((username_key, "usernameKey"), (reference.password_key, "passwordKey")):
        if not data.get(key):
            wanted = "username or user" if remedy == "usernameKey" and reference.username_key is None else key
            keys = ", ".join(sorted(data)) or "nothing"
            message = f"Secret {name} has no key {wanted}; found: {keys}. Set {path}.{remedy}."
            raise LoginUnavailable(Reason.SECRET_KEY_MISSING, message)
    try:
        username, password = (base64.b64decode(data[key]).decode() for key in (username_key, reference.password_key))
    except ValueError:
        message = f"Secret {name}: login or password is not UTF-8 text. Correct it."
        raise LoginUnavailable(Reason.SECRET_VALUE_INVALID, message) from None
    return Login(username, password)


def _login_in_url(key: str, path: str, name: str, data: Mapping[str, str]) -> Login:
    if not data.get(key):
        keys = ", ".join(sorted(data)) or "nothing"
        message = f"Secret {name} has no key {key}; found: {keys}. Set {path}.urlKey."
        raise LoginUnavailable(Reason.SECRET_KEY_MISSING, message)
    try:
        return Login(*server_url.login(base64.b64decode(data[key]).decode()))
    except UrlError as error:
        problem = str(error)
    except ValueError:
        problem = "is not UTF-8 text: correct it"
    raise LoginUnavailable(Reason.SECRET_VALUE_INVALID, f"Secret {name}: key {key} {problem}.")
