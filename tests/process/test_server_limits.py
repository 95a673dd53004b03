"""The operator's own login at a real PostgreSQL: what it reads, whom it refuses, and what of the Secret it tells."""

import asyncio
import base64
import logging
import os
from collections.abc import Iterator
from typing import Any, cast

import pytest
from tests.process import agentdb, servers
from tests.process.servers import Postgres
from tests.process.test_agent_backend import authority, certify

from pgbouncer_operator import log, postgres
from pgbouncer_operator.api.postgres_server import parse
from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.kube.resources import SECRETS
from pgbouncer_operator.postgres import ServerAddress, Superuser, Unanswered
from pgbouncer_operator.reconcile.cache.keys import ServerKey
from pgbouncer_operator.reconcile.intervals import NORMAL
from pgbouncer_operator.reconcile.server.limits_poller import LimitsPoller
from pgbouncer_operator.resources.login import Login
from pgbouncer_operator.sizing.limits import ServerLimits

pytestmark = pytest.mark.process
MONITOR = Login("watcher", "secret words")


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with servers.postgres() as server:
        server.role(MONITOR.username, MONITOR.password)
        server.sql("grant pg_monitor to watcher")
        yield server


def address(server: Postgres, **changes: object) -> ServerAddress:
    given = {"host": "127.0.0.1", "port": server.port, "database": "postgres", "sslmode": "disable"}
    return ServerAddress(**{**given, **changes})  # type: ignore[arg-type]


async def refused(server: ServerAddress, login: Login = MONITOR) -> str:
    with pytest.raises(Unanswered) as caught:
        await postgres.limits(server, login)
    text = str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return text


async def test_the_limits_are_what_the_server_has_and_a_restart_with_others_is_seen(database: Postgres) -> None:
    first = await postgres.limits(address(database), MONITOR)
    assert (first.maximum, first.reserved, first.usable) == (60, 3, 57)
    for name, value in {"max_connections": 80, "superuser_reserved_connections": 4, "reserved_connections": 5}.items():
        database.sql(f"alter system set {name} = {value}")
    assert await postgres.limits(address(database), MONITOR) == first, "nothing of it holds before a restart"
    database.stop()
    assert "there was no login" in await refused(address(database))
    agentdb.restart(database)
    second = await postgres.limits(address(database), MONITOR)
    assert (second.maximum, second.reserved, second.usable) == (80, 9, 71)
    assert second.started > first.started
    assert agentdb.sessions(database, MONITOR.username) == 0, "the login is for a moment"


class Secrets:
    """The one Secret that is read."""

    async def get(self, resource: object, namespace: str, name: str) -> dict[str, Any]:
        assert (resource, namespace, name) == (SECRETS, "platform", "pg-monitor")
        values = {"username": MONITOR.username, "password": MONITOR.password}
        return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}}


async def test_the_operator_is_woken_by_a_restart_with_other_limits_and_by_nothing_else() -> None:
    with servers.postgres() as server:
        server.role(MONITOR.username, MONITOR.password)
        spec = {"host": "127.0.0.1", "port": server.port, "tls": {"mode": "disable"}}
        spec |= {"monitoring": {"secretRef": {"name": "pg-monitor"}}}
        object_ = parse({"metadata": {"name": "rds", "namespace": "platform"}, "spec": spec})
        now, woken = [0.0], asyncio.Queue[ServerKey]()
        readings = LimitsPoller(cast(Kube, Secrets()), lambda: now[0], woken.put_nowait, postgres.limits)

        async def news() -> ServerLimits | None:
            """What is known once it is another."""
            assert await asyncio.wait_for(woken.get(), 30) == ServerKey("platform", "rds")
            found = readings.latest(object_, None)
            return found.limits if found else None

        async def again() -> None:
            now[0] += NORMAL.limits
            readings.latest(object_, None)
            await asyncio.gather(*readings._running.values())

        readings.latest(object_, None)
        first = await news()
        assert first is not None
        assert first.usable == 57
        await again()
        assert woken.empty(), "the same answer is no news"
        server.sql("alter system set max_connections = 90")
        server.stop()
        await again()
        assert await news() is None
        agentdb.restart(server)
        await again()
        second = await news()
        assert second is not None
        assert second.usable == 87
        await readings.close()


async def test_the_server_is_verified_as_its_tls_says_and_no_file_is_left_open() -> None:
    with servers.postgres() as server:
        ca = certify(server)
        server.role(MONITOR.username, MONITOR.password)
        before = len(os.listdir("/proc/self/fd"))
        for mode, pem in (("verify-full", ca), ("verify-ca", ca), ("require", "")):
            assert (await postgres.limits(address(server, sslmode=mode, authority=pem), MONITOR)).maximum == 60
        stranger = address(server, sslmode="verify-full", authority=authority()[2])
        for other in (
            stranger,
            address(server, sslmode="verify-full"),
            address(server, sslmode="verify-full", authority=ca, host="localhost"),
        ):
            assert "its certificate is not valid for this host, or not signed by the CA" in await refused(other)
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("way", ["itself", "by its settings"])
async def test_a_superuser_is_refused(database: Postgres, way: str) -> None:
    agentdb.role(database, "boss", "secret words")
    database.sql("alter role boss superuser")
    if way == "by its settings":
        database.sql("grant boss to watcher")
        database.sql("alter role watcher set role to boss")
    login = Login("boss", "secret words") if way == "itself" else MONITOR
    try:
        with pytest.raises(Superuser):
            await postgres.limits(address(database), login)
    finally:
        database.sql("alter role watcher reset role")


async def test_nobodys_functions_stand_in_for_postgresqls_own(database: Postgres) -> None:
    database.sql("create schema trap")
    database.sql("create function trap.current_setting(text) returns text language sql as 'select ''9999'''")
    database.sql("grant usage on schema trap to public")
    database.sql("alter role watcher set search_path to trap, pg_catalog")
    assert (await postgres.limits(address(database), MONITOR)).maximum in {60, 80}


async def test_not_even_a_log_of_everything_names_the_login(
    database: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    log.configure("debug", "json")
    try:
        await refused(address(database), Login("watcher", "wrong words"))
        await refused(address(database, database="nowhere"))
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    told = capsys.readouterr().err
    assert "watcher" not in told
    assert "words" not in told


@pytest.mark.parametrize(
    ("changes", "login", "words"),
    [
        ({}, Login("watcher", "wrong words"), "refuses the login's name or password"),
        ({}, Login("stranger", "secret words"), "refuses the login's name or password"),
        ({"database": "nowhere"}, MONITOR, "its database does not exist"),
        ({"sslmode": "require"}, MONITOR, "it does not support TLS"),
        ({"host": "no-such-host.invalid"}, MONITOR, "there was no login"),
        ({}, Login("it's \\ = a", "it's \\ = b"), "refuses the login's name or password"),
        ({}, Login("nul\0a", "nul\0b"), "a value that cannot be sent"),
    ],
)
async def test_a_failure_is_named_without_the_secrets(
    database: Postgres, changes: dict[str, object], login: Login, words: str
) -> None:
    text = await refused(address(database, **changes), login)
    assert words in text
    assert login.username not in text
    assert login.password not in text
    assert "\n" not in text
