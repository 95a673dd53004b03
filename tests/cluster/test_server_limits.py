"""A PostgresServer whose budget is what PostgreSQL itself says, read by a login of its own; a restart with more."""

from collections.abc import Callable, Iterator

import pytest
from tests.cluster import budgets, programs, server, servers
from tests.cluster.pools import Namespace, Object
from tests.localcluster import traffic

POOL, LOGIN = "shop", "pg-monitor"
FIRST, SECOND, RESERVED = 30, 50, 3  # connections; the last for superusers
UNPOOLED = 4  # the login's, and those of this test, which take places that are not reserved while there are any
PASSWORD = "only to watch"
LOAD = ("--clients", "60", "--think", "0.01", "--work", "0.03", "--lifetime", "2")
READ = 90.0  # seconds: it is asked once a minute
WATCHER = f"CREATE ROLE watcher LOGIN PASSWORD '{PASSWORD}'; GRANT pg_monitor TO watcher"


def reason(here: Namespace) -> str:
    conditions: list[Object] = budgets.shared(here).get("conditions", [])
    return next((each["reason"] for each in conditions if each["type"] == "LimitsKnown"), "")


def budget(here: Namespace) -> int:
    return int(budgets.shared(here).get("budget", 0))


@pytest.fixture
def first(here: Namespace) -> Iterator[int]:
    """The budget of a server whose limits are read, with a pool that may hold all of it."""
    server.sql(here, WATCHER)
    strings = {"username": "watcher", "password": PASSWORD}
    here.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": LOGIN}, "stringData": strings})
    body = budgets.server(1)
    body["spec"] |= {"connections": {"unpooled": UNPOOLED}, "monitoring": {"secretRef": {"name": LOGIN}}}
    here.apply(body)
    here.apply(budgets.member(POOL, 2 * SECOND))
    here.wait_ready(POOL)
    yield FIRST - RESERVED - UNPOOLED
    here.delete(POOL)


def test_the_budget_is_what_the_server_takes_and_follows_its_restart(
    here: Namespace, first: int, say: Callable[[str], None]
) -> None:
    assert (reason(here), budget(here)) == ("LimitsRead", first)
    here.wait(lambda: budgets.resting(here, first), "all of it given")
    counted = traffic.census(here.site, here.name)
    try:
        with programs.load(here, f"{POOL}-connection", *LOAD) as running:
            here.wait(lambda: counted.now >= first - 1, "all connections are in use")
            server.sql(here, "ALTER ROLE watcher SUPERUSER")
            here.wait(lambda: reason(here) == "LoginIsSuperuser", "a superuser is not used", READ)
            assert budget(here) == first
            server.sql(here, "ALTER ROLE watcher NOSUPERUSER")
            here.wait(lambda: reason(here) == "LimitsRead", "the login is used again", READ)
            account = programs.settled(running)
    finally:
        counted.stop()
    second = restarted(here)
    failed = account["failed"] + account["refused"]
    say(
        f"max_connections {FIRST}: {first} for pools; a superuser's answer moved nothing; restarted with {SECOND}: "
        f"{second}; PostgreSQL counted at most {counted.peak} of the pools in {len(counted.counts)} counts, "
        f"{failed} of {account['committed']} transactions failed"
    )
    assert failed == 0, account["errors"]
    assert 0 < counted.peak <= first


def restarted(here: Namespace) -> int:
    """The server starts anew with other limits; the budget that comes of them, once all of it is given."""
    servers.restart(here, SECOND)
    server.sql(here, WATCHER)
    more = SECOND - RESERVED - UNPOOLED
    here.wait(lambda: budget(here) == more, f"a budget of {more}", READ)
    here.wait(lambda: budgets.resting(here, more), "all of it given")
    here.wait_ready(POOL)
    limits = budgets.shared(here)["limits"]
    assert (limits["maxConnections"], limits["reserved"]) == (SECOND, RESERVED)
    return more
