"""The PostgreSQL server that a Secret names: of a provider as a URL, or of a PostgreSQL operator as keys. Pure.

Keys: https://servicebinding.io/spec/core/1.1.0/#well-known-secret-entries, and those of CloudNativePG
(https://cloudnative-pg.io/documentation/current/applications/), Crunchy
(https://access.crunchydata.com/documentation/postgres-operator/latest/architecture/user-management) and Zalando
(https://postgres-operator.readthedocs.io/en/latest/user/), which writes no host.
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from pgbouncer_operator import naming
from pgbouncer_operator.api.access import Database, SecretReference, User
from pgbouncer_operator.api.backend import Backend, BackendTls, CertificateAuthority, KeyReference, TlsMode
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool, FieldProblem, InvalidSpec, problems
from pgbouncer_operator.api.spec import PoolSpec
from pgbouncer_operator.pgbouncer import server_url
from pgbouncer_operator.pgbouncer.server_url import UrlError
from pgbouncer_operator.wording import counted

USER = "default"  # users[].name of the Secret's login where the spec lists no user
URL_KEYS = ("uri", "url", "DATABASE_URL", "POSTGRES_URL")
# Parameters of a URL that are about clients, or that the pool has a field for. Only these are named in messages: a
# password that is not encoded may look like any other.
_IGNORED = {
    *("application_name", "channel_binding", "client_encoding", "connect_timeout", "connection_limit", "gssencmode"),
    *("pool_timeout", "requiressl", "schema", "ssl", "sslaccept", "sslcert", "sslkey", "sslnegotiation", "sslpassword"),
    *("sslrootcert", "statement_cache_size", "target_session_attrs", "uselibpqcompat"),
}
_UNVERIFIED = {"", "allow", "prefer", "require"}
_ENDPOINT = re.compile("endpoint=([A-Za-z0-9-]{1,63})")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServerFromSecret:
    """What a Secret says of a server, in the fields that a user would write instead."""

    backend: Backend
    """With host, port and TLS."""
    databases: tuple[Database, ...]
    """The database, where the spec lists none."""
    users: tuple[User, ...]
    """The login, where the spec lists no user. Login and password stay in the Secret."""
    names_host: bool = True
    """Whether the Secret names the host, and not the spec."""
    pooled: bool = False
    """Whether the URL says `pgbouncer=true`: it is that of another pooler."""
    ignored: str = ""
    """Names of the URL's parameters that have no effect, for a message."""


class ServerUnavailable(Exception):
    """A Secret names no usable server. The message names the Secret, the fault and the remedy, and holds no value."""

    def __init__(self, reason: Reason, message: str) -> None:
        """reason: the kind of fault, for a condition."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Named:
    """What keys or a URL name; empty where they do not."""

    host: str
    port: str
    database: str
    sslmode: str
    parameters: Mapping[str, str] = field(repr=False)
    url_key: str | None = None


def read_server(spec: PoolSpec, secret: Mapping[str, Any] | None) -> ServerFromSecret:
    """The server that the Secret of `backend.secretRef` names. What the spec has itself goes first.

    secret: the body of the Secret; None if there is no such Secret. Raises ServerUnavailable, and ValueError if the
    spec names no Secret.
    """
    reference = spec.backend.secret_ref
    if reference is None:
        raise ValueError("the backend names no Secret")
    content = _Content(reference.name, secret)
    named = _named(spec.backend, content)
    host = spec.backend.host or named.host
    if not host:
        where = f"key {named.url_key} names no host." if named.url_key else content.lacks("host", *URL_KEYS)
        raise content.missing(f"{where} Set backend.host, or backend.secretRef.urlKey.")
    tls = spec.backend.tls or _tls(named, content)
    _check_options(named.parameters, host, tls, content)
    port = spec.backend.port if spec.backend.host else int(named.port or 5432)
    return ServerFromSecret(
        backend=content.valid("", lambda: Backend(host=host, port=port, tls=tls, secret_ref=reference)),
        databases=() if spec.databases else (_database(named, content),),
        users=() if spec.users else (_user(named, content),),
        names_host=spec.backend.host is None,
        pooled=named.parameters.get("pgbouncer") == "true",
        ignored=_ignored(named.parameters),
    )


def with_server(pool: ConnectionPool, server: ServerFromSecret) -> ConnectionPool:
    """The pool as if its user had written what the Secret says. Raises InvalidSpec where a rule of the spec breaks."""
    spec = pool.spec
    given = {name: getattr(spec, name) for name in PoolSpec.model_fields}
    named = {
        "backend": server.backend,
        "databases": spec.databases or server.databases,
        "users": spec.users or server.users,
    }
    try:
        return pool.model_copy(update={"spec": PoolSpec.model_validate(given | named)})
    except ValidationError as error:
        found = problems(error)
    raise InvalidSpec([FieldProblem(f"spec.{each.field}", each.message) for each in found.problems])


class _Content:
    """The Secret, and what is said of it. No message holds a value."""

    def __init__(self, name: str, secret: Mapping[str, Any] | None) -> None:
        self._name = name
        if secret is None:
            message = f"Secret {name} does not exist. Create it, or correct backend.secretRef.name."
            raise ServerUnavailable(Reason.SECRET_NOT_FOUND, message)
        self.data: Mapping[str, str] = secret.get("data") or {}

    def text(self, *keys: str) -> str:
        """The value of the first of these keys that has one, without blanks at its ends; empty without."""
        key = next((each for each in keys if self.data.get(each)), None)
        if key is None:
            return ""
        try:
            return base64.b64decode(self.data[key]).decode().strip()
        except ValueError:
            raise self.invalid(f"key {key} is not UTF-8 text: correct it") from None

    def lacks(self, *keys: str) -> str:
        """The sentence that none of these keys is there."""
        found = ", ".join(sorted(self.data)) or "nothing"
        return f"has no key {' or '.join(keys)}; found: {found}."

    def missing(self, what: str) -> ServerUnavailable:
        return ServerUnavailable(Reason.SECRET_KEY_MISSING, f"Secret {self._name} {what}")

    def invalid(self, what: str) -> ServerUnavailable:
        return ServerUnavailable(Reason.SECRET_VALUE_INVALID, f"Secret {self._name}: {what}.")

    def valid(self, what: str, build: Callable[[], T]) -> T:
        """What `build` makes of values of the Secret, within the bounds of the spec."""
        try:
            return build()
        except ValidationError as error:
            problem = problems(error).problems[0]
        raise self.invalid(f"{what or problem.field} {problem.message}")

    def user(self, url_key: str | None) -> User:
        return User(name=USER, secret_ref=SecretReference(name=self._name), url_key=url_key)

    def authority(self) -> CertificateAuthority | None:
        """The CA of the Secret; None without one."""
        if not self.text(naming.CA_KEY):
            return None
        return CertificateAuthority(secret_key_ref=KeyReference(name=self._name, key=naming.CA_KEY))


def _named(backend: Backend, content: _Content) -> _Named:
    """What the keys say, where they are complete, and otherwise the URL."""
    reference, data = backend.secret_ref, content.data
    url_key = reference.url_key if reference else None
    if url_key is not None and not data.get(url_key):
        raise content.missing(f"{content.lacks(url_key)} Set backend.secretRef.urlKey.")
    if url_key is None and not (data.get("password") and (data.get("host") or backend.host)):
        url_key = next((each for each in URL_KEYS if data.get(each)), None)
    if url_key is not None:
        return _in_url(url_key, content)
    port = content.text("port")
    if not re.fullmatch("[0-9]{0,5}", port):
        raise content.invalid("key port is no number: correct it")
    database = content.text("dbname", "database")
    return _Named(content.text("host"), port, database, content.text("sslmode"), {})


def _in_url(key: str, content: _Content) -> _Named:
    try:
        url = server_url.parse(content.text(key))
    except UrlError as error:
        raise content.invalid(f"key {key} {error}") from None
    port = "" if url.port is None else str(url.port)
    return _Named(url.host, port, url.database, url.parameters.get("sslmode", ""), url.parameters, key)


def _database(named: _Named, content: _Content) -> Database:
    if not named.database:
        where = f"key {named.url_key} names no database." if named.url_key else content.lacks("dbname", "database")
        raise content.missing(f"{where} List the databases in spec.databases.")
    return content.valid("the database's name", lambda: Database(name=named.database))


def _user(named: _Named, content: _Content) -> User:
    if named.url_key:
        try:
            server_url.login(content.text(named.url_key))
        except UrlError as error:
            raise content.invalid(
                f"key {named.url_key} {error}. Correct it, or list the logins in spec.users"
            ) from None
    for keys in () if named.url_key else (("username", "user"), ("password",)):
        if not content.text(*keys):
            raise content.missing(f"{content.lacks(*keys)} Add it, or list the logins in spec.users.")
    return content.user(named.url_key)


def _tls(named: _Named, content: _Content) -> BackendTls | None:
    """TLS as libpq takes these modes, but never without TLS unless the mode is disable. None for the spec's default.

    https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
    """
    mode, authority = named.sslmode, content.authority()
    if mode not in _UNVERIFIED | {each.value for each in TlsMode}:
        raise content.invalid(
            "sslmode is none of disable, allow, prefer, require, verify-ca and verify-full: correct it"
        )
    if mode == TlsMode.DISABLE:
        return BackendTls(mode=TlsMode.DISABLE)
    public = named.parameters.get("sslrootcert") == "system" or (authority is None and mode == TlsMode.VERIFY_FULL)
    if public:
        return BackendTls(mode=TlsMode.VERIFY_FULL, ca=CertificateAuthority(system=True))
    if authority is None and mode == TlsMode.VERIFY_CA:
        raise content.invalid("sslmode verify-ca needs a CA: add the key ca.crt, or set backend.tls")
    if authority is None:
        return None
    # With a root certificate libpq verifies the CA in mode require, too.
    verified = TlsMode.VERIFY_CA if mode in {TlsMode.REQUIRE, TlsMode.VERIFY_CA} else TlsMode.VERIFY_FULL
    return BackendTls(mode=verified, ca=authority)


def _check_options(parameters: Mapping[str, str], host: str, tls: BackendTls | None, content: _Content) -> None:
    """Refuse options that the server needs: PgBouncer passes none on. A host that begins with the endpoint names it.

    https://neon.com/docs/connect/connection-errors#the-endpoint-id-is-not-specified
    """
    options = parameters.get("options", "")
    if not options:
        return
    endpoint = _ENDPOINT.fullmatch(options)
    if endpoint is None:
        raise content.invalid(
            "the URL has options, which PgBouncer cannot pass on: remove them, and use ALTER ROLE … SET instead"
        )
    encrypted = tls is None or tls.mode is not TlsMode.DISABLE
    if not encrypted or _without_pooler(host.partition(".")[0]) != _without_pooler(endpoint[1]):
        raise content.invalid(
            "the URL has an endpoint in its options, which PgBouncer cannot pass on: use the host that begins with the "
            "endpoint's name, with TLS"
        )


def _without_pooler(name: str) -> str:
    return name.lower().removesuffix("-pooler")


def _ignored(parameters: Mapping[str, str]) -> str:
    """Names of the parameters without effect: those known by name, and the number of others."""
    used = {"sslmode", "options", "pgbouncer"}
    if parameters.get("sslrootcert") == "system":
        used.add("sslrootcert")
    names = sorted(parameters.keys() & _IGNORED - used)
    others = len(parameters.keys() - _IGNORED - used)
    return ", ".join([*names, *([counted(others, "other")] if others else [])])
