"""Asking pods that nobody trusts: where the operator's requests go, and how much of an answer it takes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.unit.reconcile.cache.test_projections import POD

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.state import OLDEST, STALE, AgentProblem, AgentState
from pgbouncer_operator.reconcile.cache import projections
from pgbouncer_operator.reconcile.pool.agents import MAX_BYTES, STEPS, Agents, answers

STATE = AgentState(uid=POD["metadata"]["uid"], version="1")


@contextlib.asynccontextmanager
async def answering(head: str, *parts: bytes, pause: float = 0.0) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port that gives this answer, with so many seconds between two parts; and the requests that came."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(f"HTTP/1.1 {head}\r\nConnection: close\r\n\r\n".encode())
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], requests


async def ask(monkeypatch: pytest.MonkeyPatch, port: int) -> AgentState | None:
    monkeypatch.setattr(naming, "AGENT_PORT", port)
    pod = projections.pod({**POD, "status": {"podIP": "127.0.0.1"}})
    agents = Agents.open(timeout=30.0, first=30.0)
    try:
        return (await agents.ask([pod]))[pod.uid]
    finally:
        await agents.close()


async def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering("200 OK", STATE.to_json().encode()) as (secret, requests):
        head = f"302 Found\r\nLocation: http://127.0.0.1:{secret}/metadata"
        async with answering(head) as (port, _):
            assert await ask(monkeypatch, port) is None
        assert not requests


async def test_an_answer_in_several_parts_is_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    text = STATE.to_json().encode()
    async with answering("200 OK", text[:20], text[20:] + b" " * 200_000, b" ") as (port, _):
        assert await ask(monkeypatch, port) == AgentState.from_json(STATE.to_json(), STATE.uid)


async def test_an_answer_of_many_segments_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = replace(STATE, problems=tuple(AgentProblem("Long", "x" * 100) for _ in range(220)))
    text = whole.to_json().encode()
    assert len(text) > 28_000
    segments = [text[at : at + 1400] for at in range(0, len(text), 1400)]
    async with answering("200 OK", *segments, pause=0.0005) as (port, _):
        assert [await ask(monkeypatch, port) == whole for _ in range(20)] == [True] * 20


def test_an_old_answer_is_unknown_and_says_for_how_long_pgbouncer_hangs() -> None:
    fresh = replace(STATE, age=STALE - 1)
    found = answers({"a": fresh, "b": replace(STATE, age=STALE), "c": None, "d": replace(STATE, age=75)})
    assert found.states == {"a": fresh, "b": None, "c": None, "d": None}
    assert found.hanging == {"b": STALE, "d": 60}
    assert answers({"a": replace(STATE, age=OLDEST)}).hanging == {"a": STEPS[0]}


async def test_an_answer_that_is_too_long_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering("200 OK", STATE.to_json().encode(), b" " * (4 * MAX_BYTES)) as (port, _):
        assert await ask(monkeypatch, port) is None


@contextlib.asynccontextmanager
async def swallowing() -> AsyncIterator[tuple[int, list[asyncio.StreamWriter], asyncio.Event]]:
    """A port that takes connections and says nothing until the event is set; and the connections that came."""
    came: list[asyncio.StreamWriter] = []
    serving: list[asyncio.Task[None] | None] = []
    speaks = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer)
        serving.append(asyncio.current_task())
        await speaks.wait()
        with contextlib.suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + STATE.to_json().encode())
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came, speaks
        speaks.set()
        await asyncio.gather(*(each for each in serving if each))


POD_OF_SHOP = projections.pod({**POD, "status": {"podIP": "127.0.0.1"}})


async def test_nobody_waits_for_a_pod_that_is_known_to_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    async with swallowing() as (port, came, _):
        monkeypatch.setattr(naming, "AGENT_PORT", port)
        agents = Agents.open(timeout=0.2, first=30.0)
        assert await agents.ask([POD_OF_SHOP]) == {POD_OF_SHOP.uid: None}
        for _ in range(100):
            await agents.ask([POD_OF_SHOP])
        assert len(came) < 20, "a look neither asks it each time nor waits for it"
        await agents.close()


async def test_a_pod_that_answers_late_has_its_pool_looked_at_and_the_answer_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    woken: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    async with swallowing() as (port, came, speaks):
        monkeypatch.setattr(naming, "AGENT_PORT", port)
        agents = Agents.open(timeout=30.0, wake=woken.put_nowait, first=0.01)
        assert await agents.ask([POD_OF_SHOP]) == {POD_OF_SHOP.uid: None}
        speaks.set()
        assert await woken.get() == (POD_OF_SHOP.namespace, POD_OF_SHOP.pool)
        assert (await agents.ask([POD_OF_SHOP]))[POD_OF_SHOP.uid] == AgentState.from_json(STATE.to_json(), STATE.uid)
        assert len(came) == 1
        await agents.close()
