"""A pause of a pool: what the pods get, until when it lasts, and when to look again. Pure.

The end of a pause is written once, together with its beginning, and never moved: pods resume by it without an operator.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.api.spec import Traffic
from pgbouncer_operator.protocol import traffic
from pgbouncer_operator.protocol.reasons import Flow
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.cache.views import ChildView

LOOK_AGAIN = 1.5  # seconds until the next look at pods that have not begun or ended a pause yet


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that the spec asks for."""

    until: int
    """Its end, in Unix seconds."""
    left: int
    """Seconds until its end; 0 or less once it is over."""

    @property
    def expired(self) -> bool:
        """Whether its time is over: queries flow again, whatever the spec says."""
        return self.left <= 0

    @property
    def fingerprint(self) -> tuple[int, bool]:
        """What of it changes a status: not that a second has passed."""
        return self.until, self.expired

    @property
    def document(self) -> str:
        """`traffic.json`."""
        return traffic.to_json(self.until)


def pause(pool: ConnectionPool, config_map: ChildView | None, today: str) -> Pause | None:
    """The pause that is under way, or one that begins now.

    None while queries flow, and before there is a ConfigMap to write it to. today: RFC 3339.
    """
    if pool.spec.traffic is Traffic.FLOWING or config_map is None:
        return None
    now = int(datetime.fromisoformat(today).timestamp())
    until = traffic.paused_until(config_map.data.get(naming.TRAFFIC_KEY, ""))
    if until is None:
        until = now + pool.spec.pause_timeout_seconds
    return Pause(until, until - now)


def obeyed(wanted: Pause | None, state: AgentState) -> bool:
    """Whether the pod does what it should. A pod that waits for a long transaction to end does not yet.

    The end of a pause needs no check: pods got it together with the beginning.
    """
    if wanted is None:
        return state.traffic != Flow.PAUSED
    return wanted.expired or state.traffic == Flow.PAUSED


def look_again(wanted: Pause | None, states: Iterable[AgentState | None]) -> float | None:
    """Seconds until the next look at the pods because of the pause; None when it needs none."""
    answers = [state for state in states if state is not None]
    if not all(obeyed(wanted, state) for state in answers):
        return LOOK_AGAIN
    return None if wanted is None or wanted.expired else float(max(1, wanted.left))
