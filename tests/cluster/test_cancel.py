"""A cancel request is a connection of its own, so the Service may give it to any pod: it arrives all the same.

PgBouncer makes one connection to a peer at a time, and has no second look at a request that comes meanwhile: that one
goes with the next request to the same peer, or is dropped after `cancel_wait_timeout`. So requests come one after the
other where none may be lost; of 4,500, four at once, 6 were.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.campaign import length
from tests.cluster import programs
from tests.cluster.pools import DEADLINE, Namespace, Object, pool
from tests.cluster.test_rolls import roll
from tests.localcluster.waiting import until

POOL = "cancels"
PODS, MOST = 3, 20
CANCELS = length("PGBOUNCER_TEST_CANCELS", short=40, full=200)
DRAIN = {"timeoutSeconds": 15, "transactionSeconds": 15}
ENDLESS = 100000


@pytest.fixture(scope="module")
def ready(here: Namespace) -> Namespace:
    here.apply(pool(POOL, MOST, replicas=PODS, drain=DRAIN))
    here.wait_ready(POOL)
    return here


def program(here: Namespace, cancels: int, at_once: int = 1) -> Object:
    command = ("python3", "-m", "load.cancels", "--cancels", str(cancels), "--at-once", str(at_once))
    return programs.pod(here, "cancels", command, f"{POOL}-connection", {"DATABASE_URL": "DATABASE_URL"})


def latest(said: str) -> dict[str, Any]:
    lines = [line for line in said.splitlines() if line.startswith("{") and line.endswith("}")]
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {"outcomes": {}, "slowest": 0}
    return found


def test_every_cancel_arrives_through_three_pods(ready: Namespace, say: Callable[[str], None]) -> None:
    account = latest(programs.output(ready, program(ready, CANCELS), CANCELS * 5 + DEADLINE))
    say(f"{account['outcomes']} of {CANCELS} cancels through {PODS} pods; the slowest {account['slowest']} s")
    assert account["outcomes"] == {"arrived": CANCELS}


@pytest.fixture
def cancelling(ready: Namespace) -> Iterator[Callable[[], dict[str, Any]]]:
    """Cancels without end; gives their account so far."""
    ready.kubectl("delete", "pod", "cancels", "--ignore-not-found", "--grace-period=0", "--force")
    ready.apply(program(ready, ENDLESS, at_once=4))
    ready.wait(lambda: latest(ready.kubectl("logs", "cancels"))["outcomes"], "a first cancel")
    yield lambda: latest(ready.kubectl("logs", "cancels"))
    ready.kubectl("delete", "pod", "cancels", "--wait=false", "--grace-period=0", "--force")


def test_cancels_arrive_while_pods_come_go_and_are_replaced(
    ready: Namespace, cancelling: Callable[[], dict[str, Any]], say: Callable[[str], None]
) -> None:
    scale(ready, PODS + 1)
    scale(ready, PODS)
    roll(ready, POOL, 0)
    before = sum(cancelling()["outcomes"].values())
    until(lambda: "" if sum(cancelling()["outcomes"].values()) > before + 4 else "the last cancels' outcome", 60)
    account = cancelling()
    say(f"{account['outcomes']} through scale-out, scale-in and a roll; the slowest {account['slowest']} s")
    # A request that is on its way to a pod in the very moment in which that pod goes has nobody to arrive at.
    assert account["outcomes"]["arrived"] >= 0.99 * sum(account["outcomes"].values())


def scale(here: Namespace, replicas: int) -> None:
    here.kubectl("scale", "connectionpool", POOL, f"--replicas={replicas}")
    here.wait(lambda: len(here.all("pods", f"pgbouncer-operator.io/pool={POOL}")) == replicas, f"{replicas} pods")
    here.wait_ready(POOL)
