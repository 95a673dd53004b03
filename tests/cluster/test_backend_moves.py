"""The server dies, moves to another address, becomes read-only: the pool is back as soon as the server is.

No client waits longer for it than queryWaitSeconds.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.campaign import length
from tests.cluster import churn, dialogue, programs, server, servers
from tests.cluster.dialogue import Dialogue
from tests.cluster.pools import Namespace, pool
from tests.cluster.server import Rows, sql
from tests.localcluster.traffic import Running

POOL = "moves"
PODS, MOST, QUERY_WAIT = 2, 8, 15
LOAD = ("--clients", "16", "--reconnecting", "4", "--lifetime", "20", "--think", "0.03")
MOVES = length("PGBOUNCER_TEST_MOVES", short=3, full=20)
SLACK = 5.0  # of a client on a busy machine, beyond queryWaitSeconds
RENEWED = 240.0  # seconds: an agent renews again for two minutes after a move
# Says, for each line, the address of the server on which a fresh login through the pool ends.
WHERE = """
import json, os, sys, psycopg
for _ in sys.stdin:
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        print(json.dumps({"server": connection.execute("SELECT host(inet_server_addr())").fetchone()[0]}), flush=True)
"""
Say = Callable[[str], None]


@pytest.fixture(scope="module")
def ready(here: Namespace) -> Namespace:
    here.apply(pool(POOL, MOST, replicas=PODS, timeouts={"queryWaitSeconds": QUERY_WAIT}))
    here.wait_ready(POOL)
    return here


@pytest.fixture
def running(ready: Namespace) -> Iterator[Running]:
    ready.wait_ready(POOL)
    with programs.load(ready, f"{POOL}-connection", *LOAD) as load:
        yield load


def works_again(here: Namespace, running: Running, at: str = server.SERVER) -> None:
    """Wait until clients commit again."""
    before = running.account()["committed"]
    here.wait(lambda: running.account()["committed"] > before + 50, f"commits on {at}")


def judge(account: dict[str, Any], rows: Rows) -> None:
    """Nothing told is lost, and nobody waited for longer than was allowed."""
    assert rows.lost == 0
    assert rows.more <= account["stages"].get("commit", 0)
    assert account["longest"] <= QUERY_WAIT + SLACK


def test_a_server_that_dies_is_used_again_as_soon_as_it_is_back(ready: Namespace, running: Running, say: Say) -> None:
    lives = ready.lives(POOL)
    died = servers.now(ready)
    if not servers.kill(ready, "postgres"):
        pytest.skip("the node is not this machine, so its processes cannot be killed")
    ready.wait(lambda: servers.ready_at(ready, "postgres") > died, "the server is back")
    back = servers.ready_at(ready, "postgres")
    ready.wait(lambda: servers.first_row_after(ready, back), "a first commit")
    first = servers.first_row_after(ready, back) or 0.0
    works_again(ready, running)
    ready.wait_ready(POOL)
    account, rows = programs.finish(ready, running)
    say(
        f"server killed: down for {back - died:.1f} s, first commit {first - back:.2f} s after it took connections; "
        f"{account['failed'] + account['refused']} of {account['committed']} transactions failed {account['stages']}, "
        f"the longest took {account['longest']} s; {rows}"
    )
    judge(account, rows)
    assert ready.lives(POOL) == lives, "no pod of the pool restarts for it"
    assert ready.serving(POOL) == PODS


@pytest.fixture
def second(ready: Namespace) -> Iterator[str]:
    """An independent second server, empty but for the table."""
    servers.start(ready, "second")
    programs.prepare_at(ready, "second")
    yield "second"
    servers.point(ready, "postgres", "postgres")
    ready.kubectl("delete", "deployment,service", "second", "--wait=false")


@pytest.fixture
def standby(ready: Namespace) -> Iterator[str]:
    """A second server that follows the first, which is writable again afterwards."""
    servers.standby(ready, "standby")
    yield "standby"
    set_read_only(ready, "off")
    servers.point(ready, "postgres", "postgres")
    ready.kubectl("delete", "deployment,service", "standby", "--wait=false")


def first_commit(here: Namespace, name: str, began: float) -> float:
    """Wait for the first commit on that server after a moment of its clock; seconds from then."""
    at = f"deployment/{name}"
    here.wait(lambda: servers.first_row_after(here, began, at), f"a first commit on {name}")
    return (servers.first_row_after(here, began, at) or began) - began


def nobody_left(here: Namespace, at: str = server.SERVER) -> None:
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop' AND backend_type = 'client backend'"
    here.wait(lambda: sql(here, sessions, at) == "0", f"no session of the pool on {at}", RENEWED)


def test_a_service_that_moves_back_and_forth_takes_all_sessions_along_each_time(
    ready: Namespace, second: str, running: Running, say: Say
) -> None:
    """Meanwhile kube-proxy is busy with other Services, and follows later than the operator."""
    lives, took = ready.lives(POOL), []
    body = dialogue.resting(ready, "asker", f"{POOL}-connection")
    with dialogue.dialogue(ready, body, "python3", "-c", WHERE) as asker, churn.churn(ready):
        for number in range(MOVES):
            old, new = ("postgres", second)[:: -1 if number % 2 else 1]
            began = time.monotonic()
            servers.point(ready, "postgres", new)
            arrives(ready, asker, new)
            nobody_left(ready, f"deployment/{old}")
            took.append(time.monotonic() - began)
            arrives(ready, asker, new)
    ready.wait_ready(POOL)
    account = running.finish()
    say(
        f"Service moved {MOVES} times: all sessions were on the new server after "
        f"{', '.join(f'{each:.1f}' for each in took)} s; "
        f"{account['failed'] + account['refused']} of {account['committed']} transactions failed {account['stages']}"
    )
    assert account["failed"] == account["refused"] == 0, account["errors"]
    assert account["longest"] <= QUERY_WAIT + SLACK
    assert ready.lives(POOL) == lives, "no pod of the pool restarts for it"


def arrives(here: Namespace, asker: Dialogue, name: str) -> None:
    """Wait until a fresh login through the pool ends on that server, by the server's own word."""
    address = servers.pod(here, name)["status"]["podIP"]

    def there() -> bool:
        answers = len(asker.heard)
        asker.tell()
        here.wait(lambda: len(asker.heard) > answers, "an answer to a fresh login")
        return bool(asker.heard[-1][1]["server"] == address)

    here.wait(there, f"a fresh login on {name} at {address}")


def test_a_standby_that_is_promoted_gets_all_clients(
    ready: Namespace, standby: str, running: Running, say: Say
) -> None:
    at = f"deployment/{standby}"
    set_read_only(ready, "on")  # the old primary is demoted: nothing may be written there any more
    servers.point(ready, "postgres", standby)
    nobody_left(ready)
    ready.wait_condition(POOL, "BackendReachable", "False", "BackendIsReadOnly")
    promoted = servers.now(ready, at)
    sql(ready, "SELECT pg_promote()", at)
    first = first_commit(ready, standby, promoted)
    works_again(ready, running, standby)
    ready.wait_ready(POOL)
    account, rows = programs.finish(ready, running, at)
    say(
        f"standby promoted: first commit {first:.2f} s after pg_promote() was called; "
        f"{account['failed']} of {account['committed']} transactions failed {account['stages']}; {rows}"
    )
    judge(account, rows)


def test_a_server_that_becomes_read_only_is_told_and_used_again_when_it_is_writable(
    ready: Namespace, running: Running, say: Say
) -> None:
    began = time.monotonic()
    try:
        set_read_only(ready, "on")
        message = ready.wait_condition(POOL, "BackendReachable", "False", "BackendIsReadOnly")
        told = time.monotonic() - began
        assert ready.serving(POOL) == PODS, "pods stay in the Service"
    finally:
        back = servers.now(ready)
        set_read_only(ready, "off")
    ready.wait(lambda: servers.first_row_after(ready, back), "a first commit")
    first = servers.first_row_after(ready, back) or 0.0
    works_again(ready, running)
    ready.wait_ready(POOL)
    account, rows = programs.finish(ready, running)
    say(
        f"read-only told after {told:.1f} s: {message}; first commit {first - back:.2f} s after it was writable again; "
        f"{account['failed']} of {account['committed']} transactions failed {account['stages']}"
    )
    judge(account, rows)


@pytest.mark.usefixtures("running")  # at rest nobody asks the server
def test_out_of_slots_is_told_apart_with_the_servers_own_words(ready: Namespace, say: Say) -> None:
    try:
        sql(ready, "ALTER ROLE shop CONNECTION LIMIT 0")
        sql(ready, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop'")
        message = ready.wait_condition(POOL, "BackendReachable", "False", "BackendIsFull")
        assert ready.serving(POOL) == PODS, "pods stay in the Service"
    finally:
        sql(ready, "ALTER ROLE shop CONNECTION LIMIT -1")
    say(f"out of slots: {message}")
    assert "too many connections for role" in message
    ready.wait_ready(POOL)


def set_read_only(here: Namespace, value: str) -> None:
    sql(here, f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    sql(here, "SELECT pg_reload_conf()")
