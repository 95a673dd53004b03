"""A server whose limits are read from itself: what holds before it answers, when it fails, when it has changed."""

import asyncio
import json
import logging
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.simulated.apiserver.records import Object
from tests.simulated.operators import Cluster
from tests.simulated.test_postgres_server import allocated, held, member, moving, never_above, respec, server, status

from pgbouncer_operator.kube.resources import POSTGRES_SERVERS, SECRETS
from pgbouncer_operator.postgres import ServerAddress, Superuser, Unanswered
from pgbouncer_operator.reconcile.intervals import Intervals
from pgbouncer_operator.resources.login import Login
from pgbouncer_operator.sizing.limits import ServerLimits

SOON = 0.3  # seconds instead of a minute
LOGIN = {"username": "watcher", "password": "xyzzy-plugh"}
MONITORED: dict[str, Any] = {"connections": {}, "monitoring": {"secretRef": {"name": "pg-monitor"}}}


@dataclass
class Answers:
    """The PostgreSQL server: what it answers to a login. asked: every login that it saw."""

    now: ServerLimits | Exception
    asked: list[tuple[ServerAddress, Login]] = field(default_factory=list)

    async def limits(self, address: ServerAddress, login: Login) -> ServerLimits:
        self.asked.append((address, login))
        if isinstance(self.now, Exception):
            raise self.now
        return self.now


@pytest.fixture
def world(world: Cluster) -> Cluster:
    world.intervals = Intervals(limits=SOON, failed_limits=SOON, authority=SOON)
    return world


@pytest.fixture
def postgres(world: Cluster) -> Answers:
    answers = Answers(ServerLimits(64, 3, "first"))
    world.ask = answers.limits
    return answers


def secret() -> Object:
    metadata = {"namespace": "platform", "name": "pg-monitor"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": LOGIN}


def told(world: Cluster, kind: str = "LimitsKnown") -> Object:
    return next((each for each in status(world).get("conditions") or () if each["type"] == kind), {})


async def until_told(world: Cluster, reason: str) -> None:
    await world.until(lambda: told(world).get("reason") == reason, reason)


async def test_pools_share_what_the_server_takes(world: Cluster, postgres: Answers) -> None:
    world.api.create(secret())
    world.api.create(server(**MONITORED))
    for name in ("one", "two", "three"):
        world.api.create(member(name))
    async with never_above(world, 60), world.operator():
        await world.until(lambda: held(world) == 60, "all but the reserved ones, and one for the login")
        await world.until_ready("one", "two", "three")
        where = {"address": "platform/postgres:5432"}
        assert status(world)["limits"] == {"maxConnections": 64, "reserved": 3, "started": "first", **where}
        assert (status(world)["budget"], told(world)["status"]) == (60, "True")
        address, login = postgres.asked[0]
        assert (address.host, address.database, address.sslmode) == ("postgres.platform.svc", "postgres", "require")
        assert (login.username, login.password) == (LOGIN["username"], LOGIN["password"])


async def test_pools_wait_until_the_server_has_said_how_much_it_takes(world: Cluster, postgres: Answers) -> None:
    postgres.now = Unanswered("password authentication failed")
    world.api.create(server(**MONITORED))
    world.api.create(member("shop"))
    async with world.operator():
        await world.until(lambda: world.condition("shop", "Stalled").get("reason") == "LimitsUnknown", "the pool says")
        await world.until(lambda: "Secret pg-monitor does not exist" in told(world).get("message", ""), "no Secret")
        assert told(world, "Ready")["status"] == "False"
        world.api.create(secret())
        await world.until(lambda: "authentication failed" in told(world).get("message", ""), "its words")
        assert not world.agents.of("default", "shop")
        postgres.now = ServerLimits(64, 3, "first")
        await world.until_ready("shop")
        assert held(world) == 60


async def test_without_a_maximum_and_without_a_login_the_remedy_is_told(world: Cluster, postgres: Answers) -> None:
    world.api.create(server(connections={}))
    world.api.create(member("shop"))
    async with world.operator():
        await until_told(world, "LimitsMissing")
        await world.until(lambda: told(world, "Stalled").get("reason") == "LimitsMissing", "somebody has to act")
        assert "Set connections.max or monitoring.secretRef" in told(world)["message"]
        respec(world, POSTGRES_SERVERS, "platform", "rds", connections={"max": 20})
        await world.until_ready("shop")
        assert not told(world)
        assert not postgres.asked


@pytest.mark.parametrize(
    ("failure", "reason"), [(Unanswered("timeout"), "LimitsUnknown"), (Superuser(), "LoginIsSuperuser")]
)
async def test_without_an_answer_the_last_figure_holds_also_after_a_restart(
    world: Cluster, postgres: Answers, failure: Exception, reason: str
) -> None:
    world.api.create(secret())
    world.api.create(server(**MONITORED))
    world.api.create(member("one"))
    async with never_above(world, 60):
        async with world.operator():
            await world.until(lambda: held(world) == 60, "in use")
            postgres.now = failure
            await until_told(world, reason)
            assert "The last budget, 60, stays in force" in told(world)["message"]
        async with world.operator(identity="second"):
            world.api.create(member("two"))
            await world.until_ready("one", "two")
            await world.until(lambda: allocated(world) == {"one": 30, "two": 30}, "shared by the last figure")
            await until_told(world, reason)
            assert told(world, "Ready")["status"] == "True"


async def test_a_server_that_restarts_with_other_limits_is_followed(world: Cluster, postgres: Answers) -> None:
    world.api.create(secret())
    world.api.create(server(**MONITORED))
    for name in ("one", "two"):
        world.api.create(member(name))
    async with world.operator():
        await world.until(lambda: held(world) == 60, "the first limits")
        postgres.now = ServerLimits(34, 3, "second")
        await world.until(lambda: held(world) == 30 and not moving(world), "less")
        assert status(world)["limits"]["started"] == "second"
        async with never_above(world, 30):
            await world.settled(0.5)
        postgres.now = ServerLimits(104, 3, "third")
        await world.until(lambda: held(world) == 100, "more")


async def test_a_login_that_goes_leaves_what_was_shared_out(world: Cluster, postgres: Answers) -> None:
    world.api.create(secret())
    world.api.create(server(**MONITORED))
    world.api.create(member("one"))
    async with world.operator():
        await world.until(lambda: held(world) == 60, "in use")
        world.api.edit(POSTGRES_SERVERS, ("platform", "rds"), lambda body: body["spec"].pop("monitoring"))
        await until_told(world, "LimitsMissing")
        await world.until(lambda: "limits" not in status(world), "nobody reads them any more")
        await world.settled(0.5)
        assert (held(world), status(world)["budget"]) == (60, 60)


async def test_it_is_advised_when_the_owner_hands_out_more_than_there_is(world: Cluster, postgres: Answers) -> None:
    world.api.create(secret())
    world.api.create(server(80, monitoring=MONITORED["monitoring"]))
    async with world.operator():
        await world.until(lambda: bool(status(world).get("advice")), "advised")
        (advice,) = status(world)["advice"]
        assert advice["reason"] == "MaxAboveServer"
        assert "80" in advice["message"]
        assert "61" in advice["message"]
        respec(world, POSTGRES_SERVERS, "platform", "rds", connections={"max": 50})
        await world.until(lambda: "advice" not in status(world), "no more")
        assert status(world)["budget"] == 50


async def test_at_rest_it_is_read_and_nothing_is_written(world: Cluster, postgres: Answers) -> None:
    world.api.create(secret())
    world.api.create(server(**MONITORED))
    world.api.create(member("one"))
    async with world.operator():
        await world.until_ready("one")
        await world.until(lambda: held(world) == 60, "in use")
        await world.settled(2.0)
        before, asked = len(world.writes()), len(postgres.asked)
        await asyncio.sleep(2.0)
        assert world.writes(0)[before:] == []
        assert len(postgres.asked) > asked


async def test_a_server_that_never_answers_holds_no_pool_up(world: Cluster, postgres: Answers) -> None:
    async def silence(address: ServerAddress, login: Login) -> ServerLimits:
        postgres.asked.append((address, login))
        await asyncio.Event().wait()
        raise AssertionError

    world.ask = silence
    world.api.create(secret())
    world.api.create(server(20, monitoring=MONITORED["monitoring"]))
    world.api.create(member("shop"))
    async with world.operator(workers=1):
        await world.until(lambda: bool(postgres.asked), "asked")
        await world.until_ready("shop")
        assert len(postgres.asked) == 1
        assert told(world)["reason"] == "Pending"


async def test_nothing_of_the_secret_is_told(
    world: Cluster, postgres: Answers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    postgres.now = RuntimeError(f"{LOGIN['username']} {LOGIN['password']}")
    world.api.create(secret())
    world.api.create(server(**MONITORED))
    async with world.operator():
        await until_told(world, "LimitsUnknown")
        await world.until(lambda: "RuntimeError" in told(world)["message"], "its kind only")
        world.api.edit(SECRETS, ("platform", "pg-monitor"), lambda body: body["data"].update({"password": "/w=="}))
        await world.until(lambda: "password is not UTF-8" in told(world)["message"], "no UTF-8")
    everything = json.dumps(status(world)) + caplog.text + "".join(str(each.__dict__) for each in caplog.records)
    for value in LOGIN.values():
        assert value not in everything


async def test_a_pool_that_reaches_the_server_again_has_it_asked_at_once(world: Cluster, postgres: Answers) -> None:
    world.intervals = replace(world.intervals, limits=600.0)
    world.api.create(secret())
    world.api.create(server(**MONITORED))
    world.api.create(member("shop"))
    async with world.operator():
        await world.until(lambda: held(world) == 60, "the first limits")
        await world.settled(1.0)
        assert len(postgres.asked) == 1
        world.agents.broken.add("postgres.platform.svc")
        await world.until(lambda: world.condition("shop", "BackendReachable").get("status") == "False", "it is away")
        postgres.now = ServerLimits(34, 3, "second")
        world.agents.broken.clear()
        await world.until(lambda: held(world) == 30, "the limits that it came back with")
        assert len(postgres.asked) == 2
