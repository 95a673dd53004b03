"""A pod that drains, and what it says of its drain."""

import contextlib
from collections.abc import Iterator
from subprocess import Popen

import pytest
from tests.process import agentdb, agentpod
from tests.process.agentpod import Pod, eventually
from tests.process.servers import Postgres

from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent, ServerTls, UserIntent

PASSWORD = "s3cret-of-shop"


@contextlib.contextmanager
def running(postgres: Postgres, mode: str, most: int | None = None) -> Iterator[Pod]:
    """most: the database's own maximum."""
    agentdb.role(postgres, "shop", PASSWORD)
    with agentpod.pod() as found:
        wanted = found.mount_intent(
            Intent(
                "ns/shop",
                {"pool_mode": mode},
                (DatabaseIntent("shop", "127.0.0.1", postgres.port, "postgres", max=most),),
                (UserIntent("shop", "shop"),),
                ServerTls("disable"),
            )
        )
        found.mount_grant(8)
        found.mount_user("shop", {"username": "shop", "password": PASSWORD})
        found.mount_pod()
        found.start()
        found.runs(wanted)
        eventually("the agent's own login has ended", lambda: found.state()["backend"]["ok"])
        yield found


@pytest.fixture
def transactional(postgres: Postgres) -> Iterator[Pod]:
    """A pod that serves, in transaction mode."""
    with running(postgres, "transaction") as found:
        yield found


def drain(pod: Pod, *more: str, delay: str = "0", timeout: str = "60", transaction: str = "10") -> Popen[bytes]:
    """more: further arguments of drain.py."""
    return pod.script(
        "drain",
        *("--endpoint-delay", delay, "--timeout", timeout, "--transaction", transaction, *more),
        *("--run-dir", str(pod.run), "--port", str(pod.port)),
    )


def alive(pod: Pod) -> bool:
    return pod.pgbouncer is not None and pod.pgbouncer.poll() is None


def told(pod: Pod) -> str:
    """The line of the agent's log about the drain, without its seconds."""

    def line() -> str:
        return next((each for each in pod.logs().splitlines() if " drained in " in each), "")

    return str(eventually("the result is in the log", line)).partition(" s; ")[2]


def figures(pod: Pod) -> dict[str, float]:
    """The agent's metrics of the drain by outcome."""
    found = {}
    for line in pod.http("/metrics")[1].splitlines():
        if line.startswith('pgbouncer_operator_agent_drain_clients{outcome="'):
            name, value = line.split('"')[1], line.rpartition(" ")[2]
            found[name] = float(value)
    return found
