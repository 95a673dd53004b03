"""The states of pods from their agents: one short HTTP request to each pod. No answer is None: unknown."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import aiohttp

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.state import STALE, AgentState
from pgbouncer_operator.reconcile.cache.views import PodView

STEPS = (3600, 300, 60, 30, 10, STALE)  # seconds; a hang is reported by these, so that few writes follow it
MAX_BYTES = 1024 * 1024  # of an answer; a longer answer counts as none


@dataclass(frozen=True, slots=True)
class Answers:
    """What the agents of a pool's pods answered."""

    states: Mapping[str, AgentState | None]
    """By pod UID; None where PgBouncer's connections and limits are unknown: nothing was answered, or an old state."""
    hanging: Mapping[str, int]
    """By pod UID, for more than how many seconds PgBouncer has not answered its agent, where the agent answers."""


def answers(states: Mapping[str, AgentState | None]) -> Answers:
    """The answers, of which an old one confirms nothing. Pure."""
    old = {uid: state.age for uid, state in states.items() if state is not None and state.stale}
    known = {uid: None if uid in old else state for uid, state in states.items()}
    return Answers(known, {uid: next(step for step in STEPS if step <= age) for uid, age in old.items()})


class Agents:
    """Reads `/state` of pods."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """session: its timeout bounds every request."""
        self._session = session

    @classmethod
    def open(cls, timeout: float = 1.0) -> Self:
        """A client that waits at most `timeout` seconds for a pod. Call inside the loop that uses it."""
        connector = aiohttp.TCPConnector(limit=64, force_close=False, keepalive_timeout=30)
        limits = aiohttp.ClientTimeout(total=timeout)
        session = aiohttp.ClientSession(connector=connector, timeout=limits, trust_env=False, auto_decompress=False)
        return cls(session)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def ask(self, pods: Sequence[PodView]) -> Mapping[str, AgentState | None]:
        """The state of every pod by its UID; None where the agent does not answer, or answers for another pod."""
        states = await asyncio.gather(*(self._state(pod) for pod in pods))
        return {pod.uid: state for pod, state in zip(pods, states, strict=True)}

    async def _state(self, pod: PodView) -> AgentState | None:
        if not pod.address:
            return None
        host = f"[{pod.address}]" if ":" in pod.address else pod.address
        try:
            # A redirect would have the operator send a request to whatever the pod names.
            address = f"http://{host}:{naming.AGENT_PORT}/state"
            async with self._session.get(address, allow_redirects=False) as response:
                body = bytearray()
                async for part in response.content.iter_any():
                    body += part
                    if len(body) > MAX_BYTES:
                        return None
                return AgentState.from_json(body.decode(errors="replace"), pod.uid) if response.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
