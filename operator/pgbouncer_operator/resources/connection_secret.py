"""Connection Secrets: what an application needs to connect, to the pool or past the pool to the server.

The keys are those of the Service Binding specification, the variables of libpq, and one URL. URLs hold only parameters
that libpq knows, because libpq refuses others, and no `sslrootcert`: its path depends on the application.
https://servicebinding.io/spec/core/1.1.0/#well-known-secret-entries
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pgbouncer_operator import naming
from pgbouncer_operator.api.access import ConnectionSecret, Endpoint
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.resources.login import Login

_BRACES = re.compile(r"[{][{]|[}][}]|[{]([^{}]*)[}]")


@dataclass(frozen=True, slots=True)
class _Address:
    host: str
    port: int
    database: str
    sslmode: str


def connection_secrets(pool: ConnectionPool) -> tuple[ConnectionSecret, ...]:
    """The connection Secrets of a pool: the listed ones, or by default a pair if there is one database and one user."""
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
    """One connection Secret. Only a Secret of endpoint Backend has the direct URL: `envFrom` gives every key away.

    ca: CA of the endpoint's certificate in PEM; empty if it is unknown or public.
    """
    address = _address(pool, entry)
    uri = _uri(address, login)
    values = {
        "type": "postgresql",
        "provider": naming.MANAGED_BY,
        "host": address.host,
        "port": str(address.port),
        "database": address.database,
        "dbname": address.database,
        "username": login.username,
        "user": login.username,
        "password": login.password,
        "sslmode": address.sslmode,
        "uri": uri,
        "jdbc-uri": _jdbc_uri(address, login),
        "pgpass": _pgpass(address, login),
        "PGHOST": address.host,
        "PGPORT": str(address.port),
        "PGDATABASE": address.database,
        "PGUSER": login.username,
        "PGPASSWORD": login.password,
        "PGSSLMODE": address.sslmode,
        "DATABASE_URL" if entry.endpoint is Endpoint.POOL else "DIRECT_URL": uri,
    }
    if ca:
        values[naming.CA_KEY] = ca
    values |= _own_keys(entry, values, address, login)
    metadata = {"name": entry.name, "labels": entry.labels, "annotations": entry.annotations}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "servicebinding.io/postgresql",
        "metadata": {name: value for name, value in metadata.items() if value},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in sorted(values.items())},
    }


def _own_keys(entry: ConnectionSecret, values: Mapping[str, str], address: _Address, login: Login) -> dict[str, str]:
    """The keys of `entry.keys`, with values in the place of names in braces. A value is never read as a template."""
    encoded = {
        "url-host": _url_host(address),
        "url-database": _encode(address.database),
        "url-username": _encode(login.username),
        "url-password": _encode(login.password),
    }
    known = {**values, **encoded}
    return {
        key: _BRACES.sub(lambda found: known[found[1]] if found[1] else found[0][0], template)
        for key, template in (entry.keys or {}).items()
    }


def secret_inputs(pool: ConnectionPool) -> str:
    """16 hexadecimal digits of a hash of every reference to a Secret, and of all that goes into connection Secrets."""
    spec = pool.spec
    logins = [
        (each.name, each.secret_ref.name, each.username_key, each.password_key, each.url_key) for each in spec.users
    ]
    certificates = (spec.clients.tls and spec.clients.tls.secret_name, spec.backend.ca)
    targets = [(entry, _address(pool, entry)) for entry in connection_secrets(pool)]
    return hashlib.sha256(repr((logins, spec.auth_query, certificates, targets)).encode()).hexdigest()[:16]


def _address(pool: ConnectionPool, entry: ConnectionSecret) -> _Address:
    spec = pool.spec
    if entry.endpoint is Endpoint.POOL:
        host = spec.service.external_host or naming.service_host(pool.metadata.name, pool.metadata.namespace)
        # No mode in between, because drivers do not agree on the meaning of `prefer` and `require`.
        sslmode = "verify-full" if spec.clients.tls else "disable"
        return _Address(host, spec.service.port, entry.database, sslmode)
    database = next(each for each in spec.databases if each.name == entry.database)
    return _Address(spec.backend.address, spec.backend.port, database.dbname, spec.backend.tls_mode.value)


def _authority(address: _Address) -> str:
    return f"{_url_host(address)}:{address.port}/{_encode(address.database)}"


def _url_host(address: _Address) -> str:
    return f"[{address.host}]" if ":" in address.host else address.host


def _uri(address: _Address, login: Login) -> str:
    user, password = _encode(login.username), _encode(login.password)
    return f"postgresql://{user}:{password}@{_authority(address)}?sslmode={address.sslmode}"


def _jdbc_uri(address: _Address, login: Login) -> str:
    user, password = _encode(login.username), _encode(login.password)
    return f"jdbc:postgresql://{_authority(address)}?user={user}&password={password}&sslmode={address.sslmode}"


def _pgpass(address: _Address, login: Login) -> str:
    fields = (address.host, str(address.port), address.database, login.username, login.password)
    return ":".join(field.replace("\\", "\\\\").replace(":", "\\:") for field in fields)


def _encode(text: str) -> str:
    return quote(text, safe="")
