"""The server takes five times as long for a while: sizing by demand does not grow into it, and all is well afterwards.

The server can do only so many things at once, so more connections would bring nothing. The same figures are given to a
sizer that goes by the mean transaction time, which grows.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from tests.campaign import length
from tests.cluster import programs, server
from tests.cluster.pools import KIND, Namespace, pool
from tests.localcluster.problem import Problem
from tests.localcluster.waiting import until
from tests.traces.policies import Look, Naive
from tests.traces.scenarios import Scenario

from pgbouncer_operator.protocol.state import AgentState, Totals
from pgbouncer_operator.sizing.demand import SizingReason
from pgbouncer_operator.sizing.window import Window

POOL = "shop"
START, MOST = 12, 24  # connections; enough for the usual load, and what the pool may grow to
AT_ONCE = 4  # things that the server does at the same time
SLOWER = 5
SLOW = float(length("PGBOUNCER_TEST_SLOW_SECONDS", short=45, full=120))
USUAL = max(45.0, 1.3 * SLOW)  # seconds before that, of which sizing knows what is usual
WINDOW = 10.0  # seconds between two looks of the operator at least
LOAD = ("--clients", "40", "--think", "0.4", "--work", "0.02", "--work-by", "load_work")
WORK = f"""
CREATE TABLE load_slower (times float8 NOT NULL);
INSERT INTO load_slower VALUES (1);
GRANT SELECT ON load_slower TO shop;
CREATE FUNCTION load_work(seconds float8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first int := floor(random() * {AT_ONCE});
    free bool := false;
BEGIN
    FOR each IN 0..{AT_ONCE - 1} LOOP
        free := pg_try_advisory_xact_lock(4712, (first + each) % {AT_ONCE});
        EXIT WHEN free;
    END LOOP;
    IF NOT free THEN
        PERFORM pg_advisory_xact_lock(4712, first);
    END IF;
    PERFORM pg_sleep(seconds * (SELECT times FROM load_slower));
END $$;
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look from outside: when, the size and its reason in status, and what the pool's pod has done so far."""

    at: float
    size: int
    reason: str
    totals: Totals


@pytest.fixture
def ready(here: Namespace) -> Iterator[Namespace]:
    server.sql(here, WORK)
    here.apply(pool(POOL, START, replicas=1))
    here.wait_ready(POOL)
    here.wait(lambda: look(here).size == START, f"a size of {START}")
    # Demand goes on from the size in force.
    here.patch(POOL, serverConnections={"max": MOST, "sizing": {"mode": "Demand"}})
    here.wait_ready(POOL)
    yield here
    here.delete(POOL)


def test_a_slow_server_gets_no_more_connections_and_recovers(ready: Namespace, say: Callable[[str], None]) -> None:
    with programs.load(ready, f"{POOL}-connection", *LOAD) as running:
        usual = watched(ready, USUAL)
        slower(ready, SLOWER)
        slow = watched(ready, SLOW)
        slower(ready, 1)
        ended = time.monotonic()
        after = recovered(ready, rate(usual))
        recovery = time.monotonic() - ended
        account = programs.settled(running)
    failed = account["failed"] + account["refused"]
    say(
        f"a server {SLOWER} times slower for {SLOW:.0f} s: {rate(usual):.0f} transactions/s before, {rate(slow):.0f} "
        f"then, {rate(after):.0f} again {recovery:.0f} s after; sizes {sizes(usual)}, {sizes(slow)}, {sizes(after)} "
        f"({', '.join(sorted({each.reason for each in slow}))}); a naive sizer: {naive(usual)}, {naive(slow)}; "
        f"{failed} of {account['committed']} transactions failed"
    )
    assert failed == 0, account["errors"]
    assert rate(slow) < 0.6 * rate(usual), "the server was not the bottleneck"
    assert max(naive(slow)) > max(START, 2 * max(naive(usual))), "what the naive sizer goes by did not grow"
    assert SizingReason.SERVER_SLOW in {each.reason for each in slow}
    assert max(sizes(slow) + sizes(after)) <= max(sizes(usual)) <= START


def slower(here: Namespace, times: float) -> None:
    """From the next transaction on, work takes that many times as long."""
    server.sql(here, f"UPDATE load_slower SET times = {times}")


def look(here: Namespace) -> Seen:
    """What is to be seen now; Problem when the pod does not say."""
    (pod,) = here.pods(POOL)
    state = AgentState.from_json(here.state(pod), pod["metadata"]["uid"])
    if state is None or state.totals is None:
        raise Problem("the pod does not say what it did")
    at, status = time.monotonic(), here.get(KIND, POOL)["status"]
    reason = status.get("recommendation", {}).get("reason", "")
    return Seen(at, int(status["serverConnections"]["size"]), reason, state.totals)


def watched(here: Namespace, seconds: float) -> list[Seen]:
    """Look again and again for so long."""
    seen = [look(here)]

    def missing() -> str:
        seen.append(look(here))
        return "" if seen[-1].at - seen[0].at >= seconds else "more looks"

    until(missing, 2 * seconds + 30, pause=1)
    return seen


def recovered(here: Namespace, usual: float) -> list[Seen]:
    """Look until the pool does nearly as much as it usually does; the looks of that last window."""
    last: list[Seen] = []

    def missing() -> str:
        last[:] = watched(here, WINDOW)
        return "" if rate(last) >= 0.8 * usual else f"{usual:.0f} transactions a second: {rate(last):.0f}"

    until(missing, 120)
    return last


def rate(seen: Sequence[Seen]) -> float:
    """Transactions a second between the first and the last look."""
    return seen[-1].totals.since(seen[0].totals).transactions / (seen[-1].at - seen[0].at)


def sizes(seen: Sequence[Seen]) -> list[int]:
    """Every size, in order, once each."""
    return [each.size for number, each in enumerate(seen) if not number or each.size != seen[number - 1].size]


def naive(seen: Sequence[Seen]) -> list[int]:
    """What a sizer would give that goes by the mean time of transactions, with the wait in it: one size a window."""
    ends = [seen[0]]
    for each in seen:
        if each.at - ends[-1].at >= WINDOW:
            ends.append(each)
    sizer = Naive(Scenario(POOL, "the same figures", SLOW, MOST, {}, fixed=START))
    found = []
    for begin, end in pairwise(ends):
        done, seconds = end.totals.since(begin.totals), end.at - begin.at
        busy = (done.transaction_seconds - done.wait_seconds) / seconds
        window = Window(end.at, seconds, busy, done.wait_seconds / seconds, done.transactions / seconds)
        with_wait = done.transaction_seconds / done.transactions if done.transactions else 0.0
        found.append(sizer.sizes({POOL: Look(window, with_wait, 0)})[POOL])
    return found
