"""A pod with a real PgBouncer before a real PostgreSQL: the fixtures and looks that the agent's tests share."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.process import agentdb, agentpod
from tests.process.agentpod import Pod, with_settings
from tests.process.servers import Postgres

from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent, ServerTls, UserIntent

PASSWORD = "s3cret-of-shop"


@pytest.fixture
def pod(postgres: Postgres) -> Iterator[Pod]:
    """A pod with everything mounted and nothing started."""
    agentdb.role(postgres, "shop", PASSWORD)
    with agentpod.pod() as found:
        found.mount_intent(intent(postgres))
        found.mount_grant(5)
        found.mount_user("shop", {"username": "shop", "password": PASSWORD})
        found.mount_pod()
        yield found


def intent(postgres: Postgres, *users: str, **settings: str | int) -> Intent:
    return Intent(
        pool="ns/shop",
        settings={"pool_mode": "transaction", **settings},
        databases=(DatabaseIntent("shop", "127.0.0.1", postgres.port, "postgres"),),
        users=tuple(UserIntent(each, each) for each in users or ("shop",)),
        server_tls=ServerTls("disable"),
    )


def nonsense(good: Intent) -> Intent:
    """A configuration that only PgBouncer itself knows to be wrong."""
    return replace(with_settings(good, server_tls_ciphers="nonsense", query_timeout=9), server_tls=ServerTls("require"))


def shown(pod: Pod, key: str) -> str:
    """A setting as the running PgBouncer shows it."""
    with pod.console() as console:
        return {row["key"]: row["value"] for row in console.query("SHOW CONFIG")}[key]


def reasons(pod: Pod) -> set[str]:
    return {each["reason"] for each in pod.state()["problems"]}
