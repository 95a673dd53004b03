"""Clients die in the middle of a statement, and as many others come: PostgreSQL soon counts no more than the budget.

PgBouncer drops the dead clients' connections and counts them as gone, while PostgreSQL still runs their statements, for
a second at most: the exception that README states. The role's limit is the fence that holds even then.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from tests.campaign import length
from tests.cluster import dialogue, programs, server, servers
from tests.cluster.dialogue import Dialogue
from tests.cluster.pools import Namespace, pool
from tests.localcluster import traffic
from tests.localcluster.waiting import until

POOL = "abandoned"
CLIENTS = MOST = 25
ROUNDS = length("PGBOUNCER_TEST_ABANDONED_ROUNDS", short=2, full=10)
CALM = 15  # counts in a row that show nothing above the budget: the worst is over
PROMISED = 2.0  # seconds, by the clock of a machine that does much else; the server looks once a second
BACK = 30.0  # seconds; a statement that goes on to its end takes twice as long
RUNNING = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop' AND state = 'active' AND query ~ 'pg_sleep'"


@pytest.fixture(scope="module")
def ready(here: Namespace) -> Iterator[Namespace]:
    servers.restart(here, max_connections=100)
    here.apply(pool(POOL, MOST, replicas=1))
    here.wait_ready(POOL)
    yield here
    here.delete(POOL)


@pytest.mark.parametrize("fence", [-1, MOST], ids=["no-fence", "fence"])
def test_statements_of_dead_clients_do_not_keep_postgresql_above_the_budget(
    ready: Namespace, fence: int, say: Callable[[str], None]
) -> None:
    server.sql(ready, f"ALTER ROLE shop CONNECTION LIMIT {fence}")
    command = ("python3", "-m", "load.abandon", "--clients", str(CLIENTS))
    counted = traffic.census(ready.site, ready.name)
    try:
        with dialogue.dialogue(ready, dialogue.resting(ready, "dying", f"{POOL}-connection"), *command) as dying:
            ready.wait(lambda: running(ready) == CLIENTS, f"{CLIENTS} statements")
            seconds = [death(ready, dying, counted) for _ in range(ROUNDS)]
    finally:
        counted.stop()
        server.sql(ready, "ALTER ROLE shop CONNECTION LIMIT -1")
    errors = Counter(each["error"] for _, each in dying.with_key("error"))
    say(
        f"{ROUNDS} times {CLIENTS} clients died in a statement, budget {MOST}, role limit {fence}: PostgreSQL counted "
        f"at most {counted.peak}; above the budget for p50 {programs.median(seconds):.2f} s, at most "
        f"{max(seconds):.2f} s; errors of newcomers, who came again: {dict(errors.most_common(3))}"
    )
    assert len(counted.counts) > ROUNDS * CALM
    assert programs.median(seconds) <= PROMISED
    if fence == MOST:
        assert counted.peak == MOST
    else:
        assert counted.peak > MOST, "nothing was abandoned"
        assert not errors


def death(here: Namespace, dying: Dialogue, counted: traffic.Census) -> float:
    """All clients die and others come; for how long PostgreSQL then counted more than the budget."""
    before = len(dying.with_key("deaths"))
    asked = time.monotonic()
    dying.tell()
    until(lambda: "" if len(dying.with_key("deaths")) > before else "their death", 30, pause=0.02)

    def above() -> str:
        latest = [count for _, count in counted.since(asked)][-CALM:]
        return "" if len(latest) == CALM and max(latest) <= MOST else f"at most {MOST} sessions: {latest}"

    until(above, BACK)
    here.wait(lambda: running(here) == CLIENTS, f"{CLIENTS} statements of those who came")
    return max((at - asked for at, count in counted.since(asked) if count > MOST), default=0.0)


def running(here: Namespace) -> int:
    return int(server.sql(here, RUNNING))
