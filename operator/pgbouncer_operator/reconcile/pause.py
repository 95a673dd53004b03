"""Pausing a pool: what the pods are told, until when it holds, and when to look again. Pure.

The end of a pause is written once, with its beginning, and never moved: pods resume by it without an operator.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.api.spec import Traffic
from pgbouncer_operator.protocol import traffic
from pgbouncer_operator.protocol.state import AgentState, Flow
from pgbouncer_operator.reconcile.cache.views import ChildView

LOOK_AGAIN = 1.5  # seconds between two looks at pods that do not yet do what they were told


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that the spec asks for. until: Unix seconds. left: seconds until then, not counted when it is over."""

    until: int
    left: int

    @property
    def expired(self) -> bool:
        """Whether it has lasted as long as it may: queries flow again, whatever the spec still says."""
        return self.left <= 0

    @property
    def fingerprint(self) -> tuple[int, bool]:
        """What of it is news: not that a second has passed."""
        return self.until, self.expired

    @property
    def document(self) -> str:
        """`traffic.json`."""
        return traffic.to_json(self.until)


def pause(pool: ConnectionPool, config_map: ChildView | None, today: str) -> Pause | None:
    """The pause that is wanted: the one under way, or one that begins now.

    None while queries flow, and before there is a ConfigMap to write it to.
    today: RFC 3339.
    """
    if pool.spec.traffic is Traffic.FLOWING or config_map is None:
        return None
    now = int(datetime.fromisoformat(today).timestamp())
    until = traffic.paused_until(config_map.unpack().get("data", {}).get(naming.TRAFFIC_KEY, ""))
    if until is None:
        until = now + pool.spec.pause_timeout_seconds
    return Pause(until, until - now)


def obeyed(wanted: Pause | None, state: AgentState) -> bool:
    """Whether the pod does what it should; one that waits for a long transaction to end does not yet.

    A pause that is over is the pods' own affair: they were told its end with its beginning.
    """
    if wanted is None:
        return state.traffic != Flow.PAUSED
    return wanted.expired or state.traffic == Flow.PAUSED


def look_again(wanted: Pause | None, states: Iterable[AgentState | None]) -> float | None:
    """Seconds until the pods are worth another look because of the pause; None when it asks for none."""
    known = [state for state in states if state is not None]
    if not all(obeyed(wanted, state) for state in known):
        return LOOK_AGAIN
    return None if wanted is None or wanted.expired else float(max(1, wanted.left))
