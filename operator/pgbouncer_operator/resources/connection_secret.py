"""Connection Secrets: everything an application needs to connect, through the pool or straight at the server.

Service Binding's well-known keys, libpq's variables, and one URL for frameworks. URLs hold only parameters that libpq
knows (it refuses others), and never `sslrootcert`: the file's place is the application's.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pgbouncer_operator import naming
from pgbouncer_operator.api.access import ConnectionSecret, Endpoint
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.resources.login import Login


@dataclass(frozen=True, slots=True)
class _Target:
    host: str
    port: int
    database: str
    sslmode: str


def connection_secrets(pool: ConnectionPool) -> tuple[ConnectionSecret, ...]:
    """The Secrets to write: the listed ones; unlisted, a pair where one database and one user leave no choice."""
    spec, name = pool.spec, pool.metadata.name
    if spec.connection_secrets is not None:
        return spec.connection_secrets
    if len(spec.databases) != 1 or len(spec.users) != 1:
        return ()
    database, user = spec.databases[0].name, spec.users[0].name
    return tuple(
        ConnectionSecret(name=secret, database=database, user=user, endpoint=endpoint)
        for secret, endpoint in (
            (naming.connection_secret(name), Endpoint.POOL),
            (naming.direct_secret(name), Endpoint.BACKEND),
        )
    )


def connection_secret(pool: ConnectionPool, entry: ConnectionSecret, login: Login, ca: str = "") -> dict[str, Any]:
    """One connection Secret. The direct URL stands only in Backend Secrets: `envFrom` must not hand out the bypass.

    ca: what the endpoint's certificate is verified with, in PEM; "" where it is not known, or public.
    """
    target = _target(pool, entry)
    uri = _uri(target, login)
    values = {
        "type": "postgresql",
        "provider": naming.MANAGED_BY,
        "host": target.host,
        "port": str(target.port),
        "database": target.database,
        "dbname": target.database,
        "username": login.username,
        "user": login.username,
        "password": login.password,
        "sslmode": target.sslmode,
        "uri": uri,
        "jdbc-uri": _jdbc_uri(target, login),
        "pgpass": _pgpass(target, login),
        "PGHOST": target.host,
        "PGPORT": str(target.port),
        "PGDATABASE": target.database,
        "PGUSER": login.username,
        "PGPASSWORD": login.password,
        "PGSSLMODE": target.sslmode,
        "DATABASE_URL" if entry.endpoint is Endpoint.POOL else "DIRECT_URL": uri,
    }
    if ca:
        values[naming.CA_KEY] = ca
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "servicebinding.io/postgresql",
        "metadata": {"name": entry.name},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in sorted(values.items())},
    }


def secret_inputs(pool: ConnectionPool) -> str:
    """16 hexadecimal digits that name what the spec wants of others' Secrets, and all it puts into ours."""
    spec = pool.spec
    asked = [(user.name, user.secret_ref.name, user.username_key, user.password_key) for user in spec.users]
    certificates = (spec.clients.tls and spec.clients.tls.secret_name, spec.backend.ca)
    made = [(entry, _target(pool, entry)) for entry in connection_secrets(pool)]
    return hashlib.sha256(repr((asked, spec.auth_query, certificates, made)).encode()).hexdigest()[:16]


def _target(pool: ConnectionPool, entry: ConnectionSecret) -> _Target:
    spec = pool.spec
    if entry.endpoint is Endpoint.POOL:
        host = spec.service.external_host or naming.service_host(pool.metadata.name, pool.metadata.namespace)
        # Nothing in between: every driver takes `prefer` and `require` to mean something else.
        sslmode = "verify-full" if spec.clients.tls else "disable"
        return _Target(host, spec.service.port, entry.database, sslmode)
    database = next(each for each in spec.databases if each.name == entry.database)
    return _Target(spec.backend.address, spec.backend.port, database.dbname, spec.backend.tls_mode.value)


def _authority(target: _Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{host}:{target.port}/{_encode(target.database)}"


def _uri(target: _Target, login: Login) -> str:
    user, password = _encode(login.username), _encode(login.password)
    return f"postgresql://{user}:{password}@{_authority(target)}?sslmode={target.sslmode}"


def _jdbc_uri(target: _Target, login: Login) -> str:
    user, password = _encode(login.username), _encode(login.password)
    return f"jdbc:postgresql://{_authority(target)}?user={user}&password={password}&sslmode={target.sslmode}"


def _pgpass(target: _Target, login: Login) -> str:
    fields = (target.host, str(target.port), target.database, login.username, login.password)
    return ":".join(field.replace("\\", "\\\\").replace(":", "\\:") for field in fields)


def _encode(text: str) -> str:
    return quote(text, safe="")
