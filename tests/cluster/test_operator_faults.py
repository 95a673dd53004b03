"""The operator dies at any moment, and two of them run at once: the pool becomes what it should be all the same."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest
from tests.campaign import length
from tests.cluster import operators
from tests.cluster.audit import Audit
from tests.cluster.pools import Namespace, pool
from tests.localcluster.deploy import NAMESPACE, RELEASE
from tests.localcluster.waiting import let_pass

KILLS = length("PGBOUNCER_TEST_KILLS", short=12, full=20)
SEED = int(os.environ.get("PGBOUNCER_TEST_SEED", "1"))
PER_POOL = 4  # kills in the life of one pool: while it is made, changed, grown, shrunk
MOST_SECONDS = 1.5  # a reconcile from apply to Ready takes some seconds; most writes come early
MOST = 6


@pytest.fixture
def two(here: Namespace) -> Namespace:
    """Two operators run, and one of them leads."""
    here.site.kubectl("scale", "deployment", RELEASE, "-n", NAMESPACE, "--replicas=2")
    here.site.kubectl("rollout", "status", "deployment", RELEASE, "-n", NAMESPACE, "--timeout=120s")
    operators.wait_leader(here.site)
    return here


def test_an_operator_killed_at_any_moment_leaves_nothing_half_done(
    two: Namespace, audit: Audit, say: Callable[[str], None]
) -> None:
    chance, log, killed = random.Random(SEED), audit.now(), 0
    before = two.inventory()
    names = [f"killed-{number}" for number in range(KILLS // PER_POOL)]
    began = time.monotonic()
    for name in names:
        for step in (make, change, grow, shrink)[:PER_POOL]:
            step(two, name)
            killed += kill_the_leader(two, chance.uniform(0, MOST_SECONDS))
        two.wait_ready(name)
        assert len(two.pods(name)) == 1
        assert two.get("connectionpool", name)["status"]["serverConnections"]["max"] == MOST + 1
    created = Counter(
        (each.resource, each.name)
        for each in log.requests()
        if each.verb == "create" and each.code == 201 and each.namespace == two.name and each.resource != "events"
    )
    say(
        f"{killed} kills (seed {SEED}) in {time.monotonic() - began:.0f} s: {len(names)} pools converged, "
        f"{sum(created.values())} objects made, none twice"
    )
    assert killed == len(names) * PER_POOL
    assert set(created.values()) == {1}, created
    assert {name for _, name in created} >= {f"{name}-grants" for name in names}
    two.kubectl("delete", "connectionpool", *names)
    two.wait(lambda: two.inventory() == before, "no orphan of the deleted pools")


def make(here: Namespace, name: str) -> None:
    here.apply(pool(name, MOST, replicas=1, drain={"timeoutSeconds": 5, "transactionSeconds": 5}))


def change(here: Namespace, name: str) -> None:
    here.patch(name, timeouts={"queryWaitSeconds": 44}, serverConnections={"max": MOST + 1})


def grow(here: Namespace, name: str) -> None:
    here.patch(name, replicas=2)


def shrink(here: Namespace, name: str) -> None:
    here.patch(name, replicas=1)


def kill_the_leader(here: Namespace, after: float) -> int:
    """SIGKILL whoever leads, that many seconds from now: the moment is the point."""
    name = operators.wait_leader(here.site)
    let_pass(after)
    killed = operators.kill(here.site, name)
    operators.forget_lease(here.site)
    return killed


def test_of_two_operators_one_works_and_the_other_takes_over_when_it_dies(
    two: Namespace, audit: Audit, say: Callable[[str], None]
) -> None:
    first = operators.wait_leader(two.site)
    log = audit.now()
    two.apply(pool("led", MOST, replicas=1))
    two.wait_ready("led")
    assert writers(log) == {first}
    log, began = audit.now(), time.monotonic()
    operators.kill(two.site, first)
    two.patch("led", timeouts={"queryWaitSeconds": 55})
    two.wait_ready("led")
    say(f"SIGKILL of the leader to a change in force by the other: {time.monotonic() - began:.1f} s")
    second = operators.wait_leader(two.site)
    assert second != first
    assert writers(log) == {second}
    two.delete("led")


def writers(log: Audit) -> set[str]:
    """Operator pods that wrote anything but the lease."""
    return {each.pod for each in log.requests() if each.writes}
