"""Which pools may replace the pods of old versions now, a few at a time.

Where a replacement gets stuck, the others wait. A pool that has a turn and does not begin lets the others go first: its
spec may be invalid, it may wait for its PostgresServer or for room, or another operator may serve it.
"""

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from pgbouncer_operator.reconcile.cache.keys import Key
from pgbouncer_operator.reconcile.rollout.template import AT_ONCE

PATIENCE = 60.0  # seconds that a pool with a turn has to begin


@dataclass(slots=True)
class Turns:
    """Remembers who had a turn and did not begin. Without that memory every such pool has its first turn again."""

    _since: dict[Key, float] = field(default_factory=dict)
    """When the turn began of each pool that has one, in monotonic seconds."""
    _passed: dict[Key, float] = field(default_factory=dict)
    """When a pool last let the others go first, in monotonic seconds."""

    def holders(self, due: Mapping[Key, bool], now: float) -> Set[Key]:
        """The pools that have a turn now. now: monotonic seconds.

        due: the pools whose user wants newer pods, and whether new ones exist already.
        """
        self._passed = {key: at for key, at in self._passed.items() if key in due}
        for key in self._first(due) if len(due) > AT_ONCE else ():
            if not due[key] and now - self._since.get(key, now) >= PATIENCE:
                self._passed[key] = now
        first = self._first(due)
        self._since = {key: now if self._passed.get(key) == now else self._since.get(key, now) for key in first}
        return self._since.keys()

    def _first(self, due: Mapping[Key, bool]) -> list[Key]:
        """Those that have begun, then those that have not had a turn by name, then the others in their order."""
        return sorted(due, key=lambda key: (not due[key], self._passed.get(key, -math.inf), key))[:AT_ONCE]
