"""The states of pods from their agents: one short HTTP request to each pod. No answer is None: unknown.

Nobody waits for a pod that swallows packets: a pod that let a request time out is asked again beside the workers, ever
more rarely, and its answer wakes its pool. Many such pods, on a node that is cut off, would hold up every other pool.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import aiohttp

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.state import STALE, AgentState
from pgbouncer_operator.reconcile.cache.keys import Key
from pgbouncer_operator.reconcile.cache.views import PodView

STEPS = (3600, 300, 60, 30, 10, STALE)  # seconds; a hang is reported by these, so that few writes follow it
MAX_BYTES = 1024 * 1024  # of an answer; a longer answer counts as none
CONNECTIONS = 256
SILENT_AT_ONCE = 32  # silent pods that are asked at the same time
LATE_SECONDS = 2.0  # for which an answer that came after the look counts
SILENCE_SECONDS = (1.0, 5.0)  # until a silent pod is asked again: at first, and at most
REMEMBERED = 4096  # pods of which something is remembered


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


@dataclass(slots=True)
class _Peer:
    """What is known of a pod's agent."""

    answered: bool = False
    """Whether it has ever answered."""
    silences: int = 0
    """How many requests in a row have timed out."""
    until: float = 0.0
    """Until when a silent pod is not asked, in the loop's time."""
    request: "asyncio.Task[None] | None" = None
    """The request that is on its way."""
    awaited: bool = False
    """Whether a look waits for that request."""
    state: AgentState | None = None
    """The last answer."""
    at: float = 0.0
    """When it came, in the loop's time."""
    late: bool = False
    """Whether no look has seen it yet."""


def _nobody(_: Key) -> None: ...


class Agents:
    """Reads `/state` of pods."""

    def __init__(self, session: aiohttp.ClientSession, wake: Callable[[Key], None], first: float) -> None:
        """session: its timeout bounds every request. wake, first: as in `open`."""
        self._session = session
        self._first = first
        self._wake = wake
        self._peers: dict[str, _Peer] = {}
        self._silent = asyncio.Semaphore(SILENT_AT_ONCE)

    @classmethod
    def open(cls, timeout: float = 1.0, wake: Callable[[Key], None] = _nobody, first: float = 0.3) -> Self:
        """A client that waits at most `timeout` seconds for a pod. Call inside the loop that uses it.

        first: most seconds to wait for a pod that has never answered. wake: has the pool of a pod that answers after
        that looked at.
        """
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, force_close=False, keepalive_timeout=30)
        limits = aiohttp.ClientTimeout(total=timeout)
        session = aiohttp.ClientSession(connector=connector, timeout=limits, trust_env=False, auto_decompress=False)
        return cls(session, wake, first)

    async def close(self) -> None:
        """Close all connections."""
        requests = [peer.request for peer in self._peers.values() if peer.request]
        for each in requests:
            each.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
        await self._session.close()

    async def ask(self, pods: Sequence[PodView]) -> Mapping[str, AgentState | None]:
        """The state of every pod by its UID; None where the agent does not answer, or answers for another pod."""
        self._forget({pod.uid for pod in pods})
        states = await asyncio.gather(*(self._ask(pod) for pod in pods))
        return {pod.uid: state for pod, state in zip(pods, states, strict=True)}

    async def _ask(self, pod: PodView) -> AgentState | None:
        if not pod.address:
            return None
        now, peer = asyncio.get_running_loop().time(), self._peers.setdefault(pod.uid, _Peer())
        if peer.late and now - peer.at < LATE_SECONDS:
            peer.late = False
            return peer.state
        if peer.request is None and now >= peer.until:
            peer.request = asyncio.ensure_future(self._request(pod, peer))
        if peer.request is None or peer.silences:
            return None
        request, peer.awaited, peer.state = peer.request, True, None
        await asyncio.wait((request,), timeout=None if peer.answered else self._first)
        peer.awaited = False
        return peer.state if request.done() else None

    async def _request(self, pod: PodView, peer: _Peer) -> None:
        loop = asyncio.get_running_loop()
        try:
            if peer.silences:
                async with self._silent:
                    state = await self._state(pod)
            else:
                state = await self._state(pod)
        except TimeoutError:
            first, most = SILENCE_SECONDS
            peer.until = loop.time() + min(most, first * 2**peer.silences)
            peer.silences, peer.state, peer.late = min(peer.silences + 1, 10), None, False
            return
        finally:
            peer.request = None
        peer.silences, peer.state, peer.at = 0, state, loop.time()
        peer.answered = peer.answered or state is not None
        peer.late = state is not None and not peer.awaited
        if peer.late:
            self._wake((pod.namespace, pod.pool))

    async def _state(self, pod: PodView) -> AgentState | None:
        """What the agent answers; None for no answer of use. Raises TimeoutError."""
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
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError):
            return None

    def _forget(self, present: set[str]) -> None:
        """Forget pods that nobody has asked about lately, once there are many."""
        if len(self._peers) > REMEMBERED:
            self._peers = {uid: peer for uid, peer in self._peers.items() if uid in present or peer.request}
