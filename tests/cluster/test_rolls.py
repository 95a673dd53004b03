"""Rolling restarts under three kinds of clients, in each pool mode: nobody is cut who did not stay for ever."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.campaign import length
from tests.cluster import programs
from tests.cluster.pools import Namespace, pool
from tests.cluster.server import Rows
from tests.localcluster import traffic
from tests.localcluster.traffic import Running

from pgbouncer_operator import naming

ROLLS = length("PGBOUNCER_TEST_ROLLS", short=2, full=50)
PODS, MOST = 3, 16
# The drain lasts longer than a client-side pool's connections, and a roll is over within half a minute all the same.
DRAIN = {"timeoutSeconds": 8, "transactionSeconds": 6}
THINK = ("--think", "0.02")
KINDS = {
    "connecting": ("--reconnecting", "1000", *THINK),
    "pooled": ("--lifetime", "4", *THINK),
    "immortal": THINK,
}
# In session mode every client has a server connection of its own.
CLIENTS = {"transaction": 10, "statement": 10, "session": 2}


@dataclass(slots=True)
class Campaign:
    """What came of some rolls. closed: for each roll, connections that ended under each immortal client."""

    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[str, Rows] = field(default_factory=dict)
    closed: list[Counter[str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)


def roll(here: Namespace, name: str, number: int) -> float:
    """Replace every pod, by the hand of a user or by a setting that PgBouncer reads only when it starts; seconds."""
    before, began = {pod["metadata"]["uid"] for pod in here.pods(name)}, time.monotonic()
    if number % 2:
        here.patch(name, parameters={"listen_backlog": 1000 + number})
    else:
        here.kubectl("rollout", "restart", f"deployment/{naming.deployment(name)}")

    def replaced() -> bool:
        found = here.all("pods", f"{naming.LABEL_POOL}={name}")  # terminating ones too
        return len(found) == PODS and not before & {pod["metadata"]["uid"] for pod in found}

    here.wait(replaced, f"{PODS} new pods and no old one", 180)
    here.wait_ready(name)
    return time.monotonic() - began


def closings(running: Running) -> Counter[str]:
    return sum((Counter(each["closed"]) for each in running.latest.values()), Counter[str]())


@contextlib.contextmanager
def clients(here: Namespace, name: str, mode: str) -> Iterator[dict[str, Running]]:
    """All kinds at work."""
    more = ("--statements",) if mode == "statement" else ()
    with contextlib.ExitStack() as stack:
        yield {
            kind: stack.enter_context(
                programs.load(here, f"{name}-connection", "--clients", str(CLIENTS[mode]), *arguments, *more, name=kind)
            )
            for kind, arguments in KINDS.items()
        }


def campaign(here: Namespace, mode: str, rolls: int) -> Campaign:
    name, found = f"roll-{mode}", Campaign()
    here.apply(pool(name, MOST, replicas=PODS, poolMode=mode, drain=DRAIN))
    here.wait_ready(name)
    counted = traffic.census(here.site, here.name)
    try:
        with clients(here, name, mode) as running:
            for number in range(rolls):
                before = closings(running["immortal"])
                found.seconds.append(roll(here, name, number))
                programs.settled(running["immortal"])
                found.closed.append(closings(running["immortal"]) - before)
            for kind, each in running.items():
                found.accounts[kind], found.rows[kind] = programs.finish(here, each)
    finally:
        counted.stop()
        here.delete(name)  # the next campaign counts the sessions of the same login
    found.counts = counted.counts
    return found


def tell(found: Campaign, mode: str, say: Callable[[str], None]) -> None:
    for kind, account in found.accounts.items():
        failed = account["failed"] + account["refused"]
        say(
            f"{mode} mode, {len(found.seconds)} rolls of {PODS} pods, {kind} clients: "
            f"{failed} of {account['committed']} transactions failed {account['stages']}, p99 {account['p99']} s; "
            f"{found.rows[kind]}"
        )
    say(
        f"{mode} mode: a roll took {programs.median(found.seconds):.0f} s; PostgreSQL counted at most "
        f"{max(found.counts)} of {MOST} in {len(found.counts)} counts; closed connections of an immortal client "
        f"in one roll: at most {max(max(each.values(), default=0) for each in found.closed)}"
    )


@pytest.fixture(scope="module", params=["transaction", "statement", "session"])
def rolled(here: Namespace, request: pytest.FixtureRequest) -> tuple[str, Campaign]:
    mode = request.param
    return mode, campaign(here, mode, ROLLS if mode == "transaction" else max(1, ROLLS // 3))


def test_clients_that_connect_anew_in_time_see_no_roll(
    rolled: tuple[str, Campaign], say: Callable[[str], None]
) -> None:
    mode, found = rolled
    tell(found, mode, say)
    for kind in ("connecting", "pooled"):
        assert found.accounts[kind]["committed"] > 100 * len(found.seconds)
        assert not programs.trouble(found.accounts[kind], found.rows[kind])


def test_clients_that_stay_for_ever_lose_an_idle_connection_and_no_transaction(rolled: tuple[str, Campaign]) -> None:
    mode, found = rolled
    account, rows = found.accounts["immortal"], found.rows["immortal"]
    assert rows.lost == 0
    assert account["refused"] == 0
    assert max(max(each.values(), default=0) for each in found.closed) <= 1
    if mode == "session":
        return  # only a client can end its session, so the deadline cuts it wherever it is
    assert rows.more == 0
    assert set(account["stages"]) <= {"begin"}


def test_the_budget_holds_through_every_roll(rolled: tuple[str, Campaign]) -> None:
    _, found = rolled
    assert len(found.counts) > 50
    assert 0 < max(found.counts) <= MOST
