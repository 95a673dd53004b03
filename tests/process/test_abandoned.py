"""Statements of clients that died: PgBouncer counts their connections as gone while PostgreSQL still runs them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.process.agentcase import PASSWORD, intent
from tests.process.agentpod import Pod
from tests.process.marks import PROCESS
from tests.process.servers import Postgres, wait_until

pytestmark = PROCESS

MOST = 5
PROGRAMS = Path(__file__).parents[1] / "localcluster"
COUNT = "select count(*) from pg_stat_activity where usename = 'shop' and query ~ 'pg_sleep'"


@pytest.fixture
def dying(pod: Pod, postgres: Postgres) -> Iterator["subprocess.Popen[str]"]:
    """Clients that fill a pod's grant with statements of a minute, and die at each line that they are told."""
    pod.mount_grant(MOST)
    pod.start()
    pod.runs(intent(postgres), seq=2)
    url = f"postgresql://shop:{PASSWORD}@127.0.0.1:{pod.port}/shop?sslmode=disable"
    command = [sys.executable, "-m", "load.abandon", "--clients", str(MOST)]
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(PROGRAMS), "DATABASE_URL": url}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        try:
            wait_until(lambda: running(postgres) == MOST, "every client's statement runs")
            yield process
        finally:
            process.communicate(timeout=20)  # the end of what it is told ends its clients too
    postgres.sql("alter role shop connection limit -1")
    wait_until(lambda: running(postgres) == 0, "no statement is left")


def running(postgres: Postgres) -> int:
    return int(postgres.sql(COUNT)[0][0])


def sessions(postgres: Postgres) -> set[int]:
    return {int(row[0]) for row in postgres.sql("select pid from pg_stat_activity where usename = 'shop'")}


def die(dying: "subprocess.Popen[str]") -> None:
    assert dying.stdin is not None
    assert dying.stdout is not None
    dying.stdin.write("\n")
    dying.stdin.flush()
    while "deaths" not in json.loads(dying.stdout.readline()):
        pass  # what a client of the fence's test was told before


def most_while_replaced(dying: "subprocess.Popen[str]", postgres: Postgres) -> int:
    """All clients die and others come: the most sessions until newcomers have what the dead have left."""
    old, most = sessions(postgres), 0

    def replaced() -> bool:
        nonlocal most
        now = sessions(postgres)
        most = max(most, len(now))
        return len(now) == MOST and not now & old

    die(dying)
    wait_until(replaced, "newcomers have what the dead have left")
    return most


def test_postgresql_is_soon_back_within_the_grant(dying: "subprocess.Popen[str]", postgres: Postgres) -> None:
    # PostgreSQL looks once a second for who is gone: where that is at once, nobody comes before the dead have left.
    assert any(most_while_replaced(dying, postgres) > MOST for _ in range(10)), "nothing was abandoned"


def test_the_roles_limit_keeps_postgresql_within_the_grant_at_every_moment(
    dying: "subprocess.Popen[str]", postgres: Postgres
) -> None:
    postgres.sql(f"alter role shop connection limit {MOST}")
    assert most_while_replaced(dying, postgres) == MOST
