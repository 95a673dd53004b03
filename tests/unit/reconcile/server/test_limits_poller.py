"""Servers are asked beside everything else: how often, how many at a time, and what is said when nothing comes back."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from tests.unit.reconcile.servers_made import LIMITS, MONITORING, server, view

from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.postgres import NotAsked, ServerAddress, Superuser, Unanswered
from pgbouncer_operator.reconcile.cache.keys import ServerKey
from pgbouncer_operator.reconcile.intervals import NORMAL
from pgbouncer_operator.reconcile.server.limits import LimitsReading
from pgbouncer_operator.reconcile.server.limits_poller import FAILED_AT_ONCE, NEW_AT_ONCE, LimitsPoller
from pgbouncer_operator.resources.login import Login
from pgbouncer_operator.sizing.limits import ServerLimits

KEY = ServerKey("platform", "rds")


def encoded(**values: str) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


@dataclass
class World:
    """A clock, a Secret, a server that answers once `gate` is open, and whom it was asked as."""

    now: float = 100.0
    secret: dict[str, str] | Exception = field(default_factory=lambda: encoded(username="watcher", password="xyzzy"))
    answer: ServerLimits | Exception = LIMITS
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[ServerAddress, Login]] = field(default_factory=list)
    woken: list[ServerKey] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()
        self.readings = LimitsPoller(cast(Kube, self), lambda: self.now, self.woken.append, self.ask)

    async def get(self, resource: object, namespace: str, name: str) -> dict[str, Any]:
        assert (namespace, name) == ("platform", "pg-monitor")
        if isinstance(self.secret, Exception):
            raise self.secret
        return {"data": self.secret}

    async def ask(self, address: ServerAddress, login: Login) -> ServerLimits:
        self.asked.append((address, login))
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def latest(self, made: PostgresServer | None = None, authority: str | None = None) -> LimitsReading | None:
        """After all that was begun has ended."""
        made = made or monitored()
        self.readings.latest(made, authority)
        await quiet()
        return self.readings.latest(made, authority)


async def quiet() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def monitored(**spec: Any) -> PostgresServer:
    return server(view(**{"monitoring": MONITORING, **spec}))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.readings.close()


async def test_a_server_is_asked_once_a_minute_and_wakes_when_the_answer_is_news(world: World) -> None:
    assert world.readings.latest(monitored(), None) is None
    assert await world.latest() == LimitsReading(LIMITS)
    assert (len(world.asked), world.woken) == (1, [KEY])
    world.now += NORMAL.limits
    await world.latest()
    assert (len(world.asked), world.woken) == (2, [KEY])
    world.answer = ServerLimits(50, 3, "later")
    world.now += NORMAL.limits
    assert await world.latest() == LimitsReading(world.answer)
    assert (len(world.asked), world.woken) == (3, [KEY, KEY])


async def test_a_failure_is_tried_again_sooner_and_a_pool_that_is_back_has_it_tried_at_once(world: World) -> None:
    world.answer = Unanswered("too many clients")
    await world.latest()
    world.now += NORMAL.failed_limits - 1
    await world.latest()
    assert len(world.asked) == 1
    world.now += 1
    await world.latest()
    assert len(world.asked) == 2
    world.readings.again(KEY)
    await world.latest()
    assert len(world.asked) == 3


@pytest.mark.parametrize(
    ("secret", "answer", "reason", "words"),
    [
        (errors.NotFound("x", 404), LIMITS, Reason.LIMITS_UNKNOWN, "Secret pg-monitor does not exist. Create it"),
        (errors.Forbidden("x", 403), LIMITS, Reason.LIMITS_UNKNOWN, "may not read Secret pg-monitor. Grant it get"),
        (errors.Unavailable("x", 0), LIMITS, Reason.LIMITS_UNKNOWN, "The API server failed: Unavailable."),
        ({}, LIMITS, Reason.LIMITS_UNKNOWN, "no key username or user; found: nothing. Set monitoring.usernameKey"),
        (
            encoded(user="watcher"),
            LIMITS,
            Reason.LIMITS_UNKNOWN,
            "no key password; found: user. Set monitoring",
        ),
        (
            {"username": "/w==", "password": "eA=="},
            LIMITS,
            Reason.LIMITS_UNKNOWN,
            "login or password is not UTF-8 text",
        ),
        (
            None,
            Unanswered("no pg_hba.conf entry"),
            Reason.LIMITS_UNKNOWN,
            "5432 did not give its limits: no pg_hba.conf",
        ),
        (
            None,
            NotAsked("Cannot allocate memory"),
            Reason.LIMITS_UNKNOWN,
            "The operator has no process to ask postgres.platform.svc:5432 for its limits: Cannot allocate memory.",
        ),
        (None, Superuser(), Reason.LOGIN_IS_SUPERUSER, "The login of Secret pg-monitor is a superuser at postgres"),
        (None, RuntimeError("watcher xyzzy"), Reason.LIMITS_UNKNOWN, "could not be asked: RuntimeError."),
    ],
)
async def test_what_is_said_when_there_is_no_answer(
    world: World,
    secret: dict[str, str] | Exception | None,
    answer: ServerLimits | Exception,
    reason: Reason,
    words: str,
) -> None:
    world.secret, world.answer = world.secret if secret is None else secret, answer
    found = await world.latest()
    assert found is not None
    assert (found.limits, found.reason) == (None, reason)
    assert words in found.message
    assert "xyzzy" not in found.message


@pytest.mark.parametrize(
    ("spec", "authority", "address"),
    [
        ({}, None, ServerAddress("postgres.platform.svc", 5432, "postgres", "require")),
        ({"host": "db.example.com", "port": 5433}, None, ServerAddress("db.example.com", 5433, "postgres", "require")),
        (
            {"monitoring": {**MONITORING, "database": "app"}},
            None,
            ServerAddress("postgres.platform.svc", 5432, "app", "require"),
        ),
        ({"tls": {"mode": "disable"}}, None, ServerAddress("postgres.platform.svc", 5432, "postgres", "disable")),
        (
            {"tls": {"ca": {"configMapKeyRef": {"name": "a", "key": "b"}}}},
            "PEM",
            ServerAddress("postgres.platform.svc", 5432, "postgres", "verify-full", "PEM"),
        ),
        (
            {"tls": {"mode": "verify-ca", "ca": {"system": True}}},
            None,
            ServerAddress("postgres.platform.svc", 5432, "postgres", "verify-ca", ""),
        ),
    ],
)
async def test_where_it_logs_in(
    world: World, spec: dict[str, Any], authority: str | None, address: ServerAddress
) -> None:
    await world.latest(monitored(**spec), authority)
    assert world.asked == [(address, Login("watcher", "xyzzy"))]


async def test_nobody_is_asked_before_the_ca_is_known(world: World) -> None:
    made = monitored(tls={"ca": {"configMapKeyRef": {"name": "a", "key": "b"}}})
    assert await world.latest(made) is None
    assert not world.asked


async def test_the_login_is_in_the_keys_that_are_named(world: World) -> None:
    world.secret = encoded(user="u", login="l", pw="p", password="xyzzy")
    await world.latest()
    await world.latest(monitored(monitoring={**MONITORING, "usernameKey": "login", "passwordKey": "pw"}))
    assert [(each.username, each.password) for _, each in world.asked] == [("u", "xyzzy"), ("l", "p")]


async def test_an_answer_to_another_question_is_none(world: World) -> None:
    await world.latest()
    assert world.readings.latest(monitored(host="elsewhere"), None) is None
    assert world.readings.latest(server(view()), None) is None, "and nobody is asked without a login"
    await quiet()
    assert len(world.asked) == 2


def named(name: str) -> PostgresServer:
    made = monitored(host=f"{name}.example.com")
    return made.model_copy(update={"metadata": made.metadata.model_copy(update={"name": name})})


async def test_servers_that_are_dead_delay_neither_those_that_live_nor_new_ones(world: World) -> None:
    dead, living = [named(f"dead-{number}") for number in range(20)], named("living")
    silence = asyncio.Event()

    async def ask(address: ServerAddress, login: Login) -> ServerLimits:
        world.asked.append((address, login))
        if address.host.startswith("dead"):
            await silence.wait()
            raise Unanswered("there was no login")
        return LIMITS

    world.readings.ask = ask
    silence.set()
    for each in (*dead, living):
        world.readings.latest(each, None)
    await quiet()
    await quiet()
    silence.clear()
    world.asked.clear()
    world.now += 60
    for each in (*dead, living, named("new")):
        world.readings.latest(each, None)
    await quiet()
    hosts = [address.host for address, _ in world.asked]
    assert {"living.example.com", "new.example.com"} < set(hosts)
    assert len(hosts) == 2 + FAILED_AT_ONCE
    assert world.readings.latest(named("new"), None) == LimitsReading(LIMITS)


async def test_a_server_that_does_not_answer_is_asked_once_and_few_are_asked_at_a_time(world: World) -> None:
    world.gate.clear()
    many = [named(f"rds-{number}") for number in range(3 * NEW_AT_ONCE)]
    for each in (*many, *many):
        world.readings.latest(each, None)
    await quiet()
    assert len(world.asked) == NEW_AT_ONCE
    world.gate.set()
    await quiet()
    assert len(world.asked) == len(many)
    assert set(world.woken) == {ServerKey("platform", each.metadata.name) for each in many}


async def test_what_is_under_way_ends_with_the_lead(world: World) -> None:
    world.gate.clear()
    world.readings.latest(monitored(), None)
    await quiet()
    await world.readings.close()
    assert not world.woken
    assert world.readings.latest(server(view()), None) is None


async def test_a_question_that_changes_while_the_server_is_asked_is_put_as_soon_as_it_has_answered(
    world: World,
) -> None:
    await world.latest()
    world.now += NORMAL.limits
    world.gate.clear()
    world.readings.latest(monitored(), None)
    await quiet()
    assert world.readings.latest(monitored(host="elsewhere"), None) is None
    world.woken.clear()
    world.gate.set()
    await quiet()
    assert world.woken == [KEY], "although the old question has its old answer"
    assert await world.latest(monitored(host="elsewhere")) == LimitsReading(LIMITS)
    assert [address.host for address, _ in world.asked] == ["postgres.platform.svc"] * 2 + ["elsewhere.platform.svc"]
