"""Connections go from one saturated pool to another: how long until PostgreSQL itself counts them for the taker."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from tests.campaign import length
from tests.cluster import budgets, programs, server, servers
from tests.cluster.api import POOLS as COLLECTION
from tests.cluster.api import Api, api
from tests.cluster.pools import Namespace
from tests.localcluster import traffic
from tests.localcluster.waiting import until

POOLS = ("one", "two")
BUDGET, MANY, FEW = 40, 30, 10  # 20 go from one to the other
HANDOVERS = length("PGBOUNCER_TEST_HANDOVERS", short=4, full=20)
# Enough clients for both pods of a pool, however its Service divides them; long transactions keep the machine free.
LOAD = ("--clients", "80", "--think", "0", "--work", "0.15")


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds from the request on: until PostgreSQL counted all for the taker, and until the server's status said."""

    held: float
    told: float


@pytest.fixture(scope="module")
def ready(here: Namespace) -> Iterator[Namespace]:
    servers.restart(here, max_connections=100)
    server.sql(here, f"ALTER ROLE shop CONNECTION LIMIT {BUDGET}")
    here.apply(budgets.server(BUDGET))
    for name, most in zip(POOLS, (MANY, FEW), strict=True):
        here.apply(budgets.member(name, most))
    here.wait_ready(*POOLS)
    yield here
    here.delete(*POOLS)


def test_connections_are_handed_over_promptly(ready: Namespace, say: Callable[[str], None]) -> None:
    counted = traffic.census(ready.site, ready.name)
    try:
        with loaded(ready, POOLS[0]) as one, loaded(ready, POOLS[1]) as two, api(ready) as asked:
            pairs = [(POOLS[number % 2], POOLS[1 - number % 2]) for number in range(HANDOVERS)]
            took = [handed_over(ready, asked, giver, taker) for giver, taker in pairs]
            accounts = [programs.settled(each) for each in (one, two)]
    finally:
        counted.stop()
    failed = sum(each["failed"] + each["refused"] for each in accounts)
    held, told = [each.held for each in took], [each.told for each in took]
    p50, p95 = programs.median(held), programs.percentile(held, 0.95)
    say(
        f"{HANDOVERS} times {MANY - FEW} connections from one saturated pool to another: held by the taker, as "
        f"PostgreSQL counts, p50 {p50:.2f} s, p95 {p95:.2f} s; told by the server's status p50 "
        f"{programs.median(told):.2f} s, p95 {programs.percentile(told, 0.95):.2f} s; "
        f"{failed} of {sum(each['committed'] for each in accounts)} transactions failed; "
        f"PostgreSQL counted at most {counted.peak} of {BUDGET}"
    )
    assert len(took) == HANDOVERS
    assert failed == 0, [each["errors"] for each in accounts]
    assert 0 < counted.peak <= BUDGET


@contextmanager
def loaded(here: Namespace, pool: str) -> Iterator[traffic.Running]:
    """Clients that keep every connection of the pool busy."""
    with programs.load(here, f"{pool}-connection", *LOAD, name=f"load-{pool}") as running:
        yield running


def handed_over(here: Namespace, asked: Api, giver: str, taker: str) -> Took:
    """Let the taker have what the giver had, once both use all they may."""
    given, taken = (traffic.census(here.site, here.name, only=by(here, name)) for name in (giver, taker))
    try:
        until(lambda: saturated(given, MANY) or saturated(taken, FEW), 60)
        begun = time.monotonic()
        for name, most in ((giver, FEW), (taker, MANY)):
            asked.patch(COLLECTION, name, {"spec": {"serverConnections": {"max": most}}})

        def told() -> bool:
            found = budgets.allocations(budgets.shared(here))
            return (found[giver], found[taker]) == (FEW, MANY)

        here.wait(told, f"{MANY - FEW} connections go from {giver} to {taker}")
        seconds = time.monotonic() - begun
        until(lambda: saturated(taken, MANY), 60)
        held = next(at for at, count in taken.since(begun) if count >= MANY)
        here.wait_ready(*POOLS)
    finally:
        given.stop()
        taken.stop()
    return Took(held - begun, seconds)


def saturated(counted: traffic.Census, most: int) -> str:
    """What PostgreSQL counts, unless it is all that may be held."""
    return "" if counted.now == most else f"{most} sessions: {counted.now}"


def by(here: Namespace, pool: str) -> str:
    """The condition in SQL for sessions of the pool's pods: PostgreSQL sees their own addresses."""
    addresses = ", ".join(f"'{pod['status']['podIP']}'" for pod in here.pods(pool))
    return f"client_addr IN ({addresses})"
