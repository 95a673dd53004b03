"""The ConfigMap with the pool's intent: the configuration of PgBouncer without paths, grants and secrets."""

from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.access import AuthQuery
from pgbouncer_operator.api.backend import CertificateAuthority
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.api.tuning import Timeouts
from pgbouncer_operator.protocol.intent import (
    SYSTEM_CA,
    AuthQueryIntent,
    ClientTlsIntent,
    DatabaseIntent,
    Intent,
    ServerTls,
    UserIntent,
)
from pgbouncer_operator.sizing.fit import Fit, per_pod

# The field of spec.timeouts for each setting of PgBouncer. Both are in seconds. https://www.pgbouncer.org/config.html
TIMEOUTS = {
    "query_wait_timeout": "query_wait_seconds",
    "server_idle_timeout": "server_idle_seconds",
    "server_lifetime": "server_lifetime_seconds",
    "client_idle_timeout": "client_idle_seconds",
    "idle_transaction_timeout": "idle_transaction_seconds",
    "query_timeout": "query_seconds",
    "server_connect_timeout": "server_connect_seconds",
}


def intent(pool: ConnectionPool, fit: Fit) -> Intent:
    """The intent of the pool. Limits of databases and users are one pod's part of the spec's limits."""
    spec, pods = pool.spec, fit.replicas + fit.surge
    return Intent(
        pool=f"{pool.metadata.namespace}/{pool.metadata.name}",
        settings={
            **(spec.parameters or {}),
            **_timeouts(spec.timeouts),
            "pool_mode": spec.pool_mode.value,
            "max_client_conn": spec.clients.max_per_pod,
        },
        databases=tuple(
            DatabaseIntent(
                name=each.name,
                host=spec.backend.address,
                port=spec.backend.port,
                dbname=each.dbname,
                pool_mode=each.pool_mode.value if each.pool_mode else None,
                max=per_pod(each.server_connections.max if each.server_connections else None, pods),
            )
            for each in sorted(spec.databases, key=lambda database: database.name)
        ),
        users=tuple(
            UserIntent(
                name=each.name,
                mount=each.name,
                username_key=each.username_key,
                password_key=each.password_key,
                url_key=each.url_key,
                max=per_pod(each.server_connections.max if each.server_connections else None, pods),
            )
            for each in sorted(spec.users, key=lambda user: user.name)
        ),
        server_tls=ServerTls(mode=spec.backend.tls_mode.value, ca=_ca(spec.backend.ca)),
        client_tls=ClientTlsIntent(spec.clients.tls.mode.value) if spec.clients.tls else None,
        auth_query=_auth_query(spec.auth_query),
        drain_seconds=spec.drain.timeout_seconds,
    )


def config_map(pool: ConnectionPool, content: Intent, traffic: str = "") -> dict[str, Any]:
    """The ConfigMap that every pod mounts. traffic: the text of `traffic.json`; empty unless the pool is paused."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": naming.config_map(pool.metadata.name)},
        "data": {naming.INTENT_KEY: content.to_json(), **({naming.TRAFFIC_KEY: traffic} if traffic else {})},
    }


def _timeouts(timeouts: Timeouts) -> dict[str, int]:
    return {setting: getattr(timeouts, field) for setting, field in TIMEOUTS.items()}


def _ca(ca: CertificateAuthority | None) -> str:
    if ca is None:
        return ""
    return SYSTEM_CA if ca.system else naming.CA_KEY


def _auth_query(query: AuthQuery | None) -> AuthQueryIntent | None:
    if query is None:
        return None
    return AuthQueryIntent(
        mount=naming.AUTH_QUERY_MOUNT,
        database=query.database,
        function=query.function,
        username_key=query.username_key,
        password_key=query.password_key,
    )
