"""Asking pods that nobody trusts: where the operator's requests go, and how much of an answer it takes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from tests.unit.reconcile.cache.test_projections import POD

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.cache import projections
from pgbouncer_operator.reconcile.pool.agents import MAX_BYTES, Agents

STATE = AgentState(uid=POD["metadata"]["uid"], version="1")


@contextlib.asynccontextmanager
async def answering(head: str, *parts: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port that gives this answer, and the requests that came."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(f"HTTP/1.1 {head}\r\nConnection: close\r\n\r\n".encode())
            for part in parts:
                writer.write(part)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], requests


async def ask(monkeypatch: pytest.MonkeyPatch, port: int) -> AgentState | None:
    monkeypatch.setattr(naming, "AGENT_PORT", port)
    pod = projections.pod({**POD, "status": {"podIP": "127.0.0.1"}})
    agents = Agents.open(timeout=30.0)
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


async def test_an_answer_that_is_too_long_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering("200 OK", STATE.to_json().encode(), b" " * (4 * MAX_BYTES)) as (port, _):
        assert await ask(monkeypatch, port) is None
