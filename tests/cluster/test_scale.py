"""More pods and fewer pods under load: PostgreSQL never counts more connections than the budget, and nobody fails."""

from collections.abc import Callable

from tests.cluster import programs
from tests.cluster.pools import Namespace, pool
from tests.localcluster import traffic

POOL = "scale"
MOST = 8
# Clients connect anew well before a leaving pod stops waiting for them.
LOAD = ("--clients", "40", "--think", "0.05", "--lifetime", "3")
DRAIN = {"timeoutSeconds": 30, "transactionSeconds": 10}


def test_pods_come_and_go_under_load_within_the_budget_and_without_a_failure(
    here: Namespace, say: Callable[[str], None]
) -> None:
    here.apply(pool(POOL, MOST, drain=DRAIN))
    here.wait_ready(POOL)
    counted = traffic.census(here.site, here.name)
    try:
        with programs.load(here, f"{POOL}-connection", *LOAD) as running:
            first = {pod["metadata"]["uid"] for pod in here.pods(POOL)}
            scale(here, 4)
            scale(here, 2)
            here.wait(lambda: len(here.all("pods", f"pgbouncer-operator.io/pool={POOL}")) == 2, "two pods are gone")
            account = programs.settled(running)
    finally:
        counted.stop()
    failed = account["failed"] + account["refused"]
    say(
        f"2, 4, 2 pods: {failed} of {account['committed']} transactions failed; "
        f"PostgreSQL counted at most {counted.peak} of {MOST} in {len(counted.counts)} counts"
    )
    assert failed == 0, account["errors"]
    assert len(counted.counts) > 100
    assert 0 < counted.peak <= MOST
    assert len(first) == len(here.pods(POOL)) == 2
    assert account["committed"] > 1000


def scale(here: Namespace, replicas: int) -> None:
    """As a user or an autoscaler does; until the pods are there and all is confirmed."""
    here.kubectl("scale", "connectionpool", POOL, f"--replicas={replicas}")
    here.wait(lambda: len(here.pods(POOL)) == replicas, f"{replicas} pods")
    here.wait_ready(POOL)
    here.wait(lambda: here.serving(POOL) == replicas, f"{replicas} pods in the Service")
