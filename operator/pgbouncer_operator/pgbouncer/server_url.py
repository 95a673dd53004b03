"""A PostgreSQL URL, as providers hand it out: postgres://user:password@host:port/database?sslmode=require. Pure.

Operator and agent read the same URL: the operator where the server is, the agent only login and password.
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

LONGEST = 8192  # characters; tokens that serve as passwords have up to 2,000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# As libpq cuts it. Drivers put their name behind a plus: postgresql+asyncpg.
_URL = re.compile(
    r"postgres(?:ql)?(?:[+][a-z0-9]+)?://(?:(?P<username>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<host>\[[^\]/?]*\]|[^:/?]*)(?::(?P<port>[^/?]*))?(?:/(?P<database>[^?]*))?(?:[?](?P<query>.*))?"
)
# What libpq also takes as a parameter: with two places, one of the two readers might take the other one.
_TWICE = ("host", "hostaddr", "port", "user", "password", "dbname", "service")
_ENCODE = "has characters in login or password that need percent-encoding: encode them, such as %2F for a slash"


class UrlError(ValueError):
    """The text is not a URL that can be used. The message says what is wrong and what to do, and holds no value."""


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """The parts of a URL, decoded. What the URL lacks is empty."""

    host: str
    """Without brackets."""
    port: int | None
    database: str
    username: str = field(repr=False)
    password: str = field(repr=False)
    parameters: Mapping[str, str] = field(repr=False)
    """What follows the question mark."""


def parse(text: str) -> ServerUrl:
    """Read a URL. Blanks and line breaks at its ends do not count. Raises UrlError."""
    text = text.strip()
    if len(text) > LONGEST:
        raise UrlError(f"is longer than {LONGEST} characters: use a shorter URL")
    found = _URL.fullmatch(text)
    if _CONTROL.search(text) or found is None:
        raise UrlError("is not a URL that begins with postgres:// or postgresql://: correct it")
    if "@" in text and found["username"] is None:
        raise UrlError(_ENCODE)  # what stands behind a slash of the password is not to be taken for host and port
    parts = {name: _decoded(part or "") for name, part in found.groupdict().items() if name != "query"}
    parameters = _parameters(found["query"] or "")
    for name in _TWICE:
        if name in parameters:
            raise UrlError(f"has {name} as a parameter: write it before the question mark")
    if "," in parts["host"] + parts["port"]:
        raise UrlError("names several hosts: keep one, best that of the primary")
    if parts["port"] and not re.fullmatch("[0-9]{1,5}", parts["port"]):
        raise UrlError(f"has a port that is no number, or {_ENCODE}")
    return ServerUrl(
        host=parts["host"].removeprefix("[").removesuffix("]"),
        port=int(parts["port"]) if parts["port"] else None,
        database=parts["database"],
        username=parts["username"],
        password=parts["password"],
        parameters=parameters,
    )


def login(text: str) -> tuple[str, str]:
    """Login and password of a URL. Raises UrlError, also where one of them is empty."""
    url = parse(text)
    if not url.username or not url.password:
        raise UrlError(
            f"has no {'password' if url.username else 'user'}: it needs both, as in postgres://user:password@host"
        )
    return url.username, url.password


def _parameters(query: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in query.split("&") if part)
    return {_decoded(name): _decoded(value) for name, _, value in pairs}


def _decoded(text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise UrlError("has percent-encoded bytes that are not UTF-8: encode the text again") from None
    if _CONTROL.search(decoded):
        raise UrlError("has an encoded control character: remove it")
    return decoded
