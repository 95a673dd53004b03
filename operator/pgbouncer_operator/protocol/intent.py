"""`current.json` and `candidate.json`: a pool's configuration. The operator writes it, the agents read it.

Pure. No secret is in it: it names the volume that holds a user's Secret.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgbouncer_operator.protocol.document import PROTOCOL, Document, DocumentError

CLIENT_TLS_MODES = ("require", "prefer")
TLS_MODES = ("disable", "require", "verify-ca", "verify-full")
POOL_MODES = ("session", "transaction", "statement")
SYSTEM_CA = "system"
FUNCTION = "[a-z_][a-z0-9_]{0,62}[.][a-z_][a-z0-9_]{0,62}"  # needs no quotes and holds no SQL


class IntentError(ValueError):
    """The document is not an intent. The message names the field and says what it must be."""


@dataclass(frozen=True, slots=True)
class DatabaseIntent:
    """A database that clients may connect to."""

    name: str
    host: str
    port: int = 5432
    dbname: str = ""
    """PostgreSQL's name of the database; empty becomes `name`."""
    pool_mode: str | None = None
    """None for the pool's own."""
    max: int | None = None
    """The most server connections of the database in ONE pod; None for no limit of its own."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dbname", self.dbname or self.name)


@dataclass(frozen=True, slots=True)
class UserIntent:
    """A user. Login and password are files of the Secret that is mounted at <users dir>/<mount>."""

    name: str
    """The handle: users[].name."""
    mount: str
    username_key: str | None = None
    """None for `username` or, without it, `user`."""
    password_key: str = "password"  # noqa: S105 - the name of a key, not a password
    max: int | None = None
    """The most server connections of the login in ONE pod; None for no limit."""
    url_key: str | None = None
    """The key of a URL with login and password, instead of a key for each; None without one."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """TLS towards PostgreSQL."""

    mode: str = "require"
    """One of TLS_MODES, as server_tls_sslmode."""
    ca: str = ""
    """Empty for none, SYSTEM_CA for the public CAs, else a file in the CA directory."""


@dataclass(frozen=True, slots=True)
class ClientTlsIntent:
    """TLS towards clients, with `tls.crt` and `tls.key` of the TLS directory."""

    mode: str = "require"
    """One of CLIENT_TLS_MODES: with `prefer` clients may connect without TLS."""


@dataclass(frozen=True, slots=True)
class AuthQueryIntent:
    """Lookup of logins in PostgreSQL."""

    mount: str
    """The Secret of the role that looks up logins is mounted at <users dir>/<mount>."""
    database: str
    """Name of an entry of `databases`."""
    function: str
    """The function that returns a login, with its schema."""
    username_key: str | None = None
    password_key: str = "password"  # noqa: S105 - the name of a key, not a password


@dataclass(frozen=True, slots=True)
class Intent:
    """A pool's configuration without paths, grants and secrets."""

    pool: str
    """namespace/name."""
    settings: Mapping[str, str | int]
    """Keys of `[pgbouncer]` with their final values. The agent adds paths and auth keys."""
    databases: tuple[DatabaseIntent, ...]
    users: tuple[UserIntent, ...]
    server_tls: ServerTls = ServerTls()
    client_tls: ClientTlsIntent | None = None
    auth_query: AuthQueryIntent | None = None
    drain_seconds: int | None = None
    """How long clients of a removed database or user may stay; None in a document of an older operator."""
    digest: str = field(init=False, compare=False)
    """The hash that names this configuration: 16 hexadecimal digits.

    Read from a document it is the document's own `hash`, which covers keys of a newer operator too.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", _digest(_document(self)))

    def to_json(self) -> str:
        """Pretty JSON with sorted keys and a last newline: the same bytes for the same intent."""
        document = _document(self)
        return json.dumps(document | {"hash": _digest(document)}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str) -> "Intent":
        """Read the document. Raises IntentError that names the field."""
        try:
            return _read(Document.parse(text))
        except DocumentError as error:
            raise IntentError(str(error)) from None


def _document(intent: Intent) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "pool": intent.pool,
        "settings": dict(intent.settings),
        "databases": [
            {
                "name": each.name,
                "host": each.host,
                "port": each.port,
                "dbname": each.dbname,
                "pool_mode": each.pool_mode,
                "max": each.max,
            }
            for each in intent.databases
        ],
        "users": [
            {
                "name": each.name,
                "mount": each.mount,
                "usernameKey": each.username_key,
                "passwordKey": each.password_key,
                "max": each.max,
                **({"urlKey": each.url_key} if each.url_key else {}),
            }
            for each in intent.users
        ],
        "server_tls": {"mode": intent.server_tls.mode, "ca": intent.server_tls.ca},
        **_optional(intent),
    }


def _optional(intent: Intent) -> dict[str, Any]:
    """Keys that are written only when set, so that the hash of a configuration without them stays the same."""
    document: dict[str, Any] = {}
    if intent.client_tls:
        document["client_tls"] = {"mode": intent.client_tls.mode}
    if intent.auth_query:
        document["auth_query"] = {
            "mount": intent.auth_query.mount,
            "usernameKey": intent.auth_query.username_key,
            "passwordKey": intent.auth_query.password_key,
            "database": intent.auth_query.database,
            "function": intent.auth_query.function,
        }
    if intent.drain_seconds is not None:
        document["drain_seconds"] = intent.drain_seconds
    return document


def _digest(document: Mapping[str, Any]) -> str:
    everything = {key: value for key, value in document.items() if key != "hash"}
    canonical = json.dumps(everything, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _read(document: Document) -> Intent:
    stated = document.text("hash")
    computed = _digest(document.members)
    if stated != computed:
        raise document.error("hash", f"is {stated}, but its content gives {computed}: it was changed by hand")
    intent = Intent(
        pool=document.text("pool"),
        settings=_settings(document.child("settings")),
        databases=tuple(_database(each) for each in document.children("databases")),
        users=tuple(_user(each) for each in document.children("users")),
        server_tls=_server_tls(document.child("server_tls")),
        client_tls=_client_tls(document),
        auth_query=_auth_query(document),
        drain_seconds=document.optional_integer("drain_seconds", 0),
    )
    _refuse_twins(document, "databases", [each.name for each in intent.databases])
    _refuse_twins(document, "users", [each.name for each in intent.users])
    _refuse_twins(document, "users", [each.mount for each in intent.users])
    if intent.auth_query and intent.auth_query.database not in {each.name for each in intent.databases}:
        raise document.error("auth_query.database", f"is {intent.auth_query.database!r}, which is not in databases")
    object.__setattr__(intent, "digest", stated)  # the hash of all keys, those of a newer operator too
    return intent


def _settings(document: Document) -> dict[str, str | int]:
    settings: dict[str, str | int] = {}
    for key, value in document.members.items():
        settings[key] = document.text(key) if isinstance(value, str) else document.integer(key, minimum=-(2**31))
    return settings


def _database(document: Document) -> DatabaseIntent:
    pool_mode = document.choice("pool_mode", POOL_MODES) if document.members.get("pool_mode") is not None else None
    return DatabaseIntent(
        name=document.text("name"),
        host=document.text("host"),
        port=document.integer("port", 1, 65535),
        dbname=document.text("dbname"),
        pool_mode=pool_mode,
        max=document.optional_integer("max", 1),
    )


def _user(document: Document) -> UserIntent:
    return UserIntent(
        name=document.text("name"),
        mount=_mount(document),
        username_key=_key(document, "usernameKey"),
        password_key=_key(document, "passwordKey") or "password",
        max=document.optional_integer("max", 1),
        url_key=_key(document, "urlKey"),
    )


def _mount(document: Document) -> str:
    mount = document.text("mount")
    if not _is_file_name(mount):
        raise document.error("mount", f"is {mount!r}, it must be a directory's name: letters, digits, '-', '_', '.'")
    return mount


def _key(document: Document, key: str) -> str | None:
    name = document.optional_text(key)
    if name is not None and not _is_file_name(name):
        raise document.error(key, f"is {name!r}, it must be a key of a Secret: letters, digits, '-', '_', '.'")
    return name


def _server_tls(document: Document) -> ServerTls:
    tls = ServerTls(mode=document.choice("mode", TLS_MODES), ca=document.text("ca"))
    if tls.ca and not _is_file_name(tls.ca):
        raise document.error("ca", f"is {tls.ca!r}, it must be empty, {SYSTEM_CA!r} or a file's name")
    if tls.mode.startswith("verify-") and not tls.ca:
        raise document.error("ca", f"is empty, but {tls.mode} verifies against a CA: name one, or {SYSTEM_CA!r}")
    return tls


def _client_tls(document: Document) -> ClientTlsIntent | None:
    if document.members.get("client_tls") is None:
        return None
    return ClientTlsIntent(mode=document.child("client_tls").choice("mode", CLIENT_TLS_MODES))


def _auth_query(document: Document) -> AuthQueryIntent | None:
    if document.members.get("auth_query") is None:
        return None
    child = document.child("auth_query")
    function = child.text("function")
    if not re.fullmatch(FUNCTION, function):
        raise child.error("function", f"is {function!r}, it must be schema.function in lower-case letters")
    return AuthQueryIntent(
        mount=_mount(child),
        database=child.text("database"),
        function=function,
        username_key=_key(child, "usernameKey"),
        password_key=_key(child, "passwordKey") or "password",
    )


def _is_file_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9._-]{1,253}", name) is not None and name not in {".", ".."}


def _refuse_twins(document: Document, key: str, names: Sequence[str]) -> None:
    twin = next((each for index, each in enumerate(names) if each in names[:index]), None)
    if twin is not None:
        raise document.error(key, f"has {twin!r} twice")
