"""One reconcile: look, decide, act. The table of contents of this package."""

from pgbouncer_operator.reconcile.budget.measure import with_measured_demand
from pgbouncer_operator.reconcile.cache.keys import Key
from pgbouncer_operator.reconcile.memory import Memory
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pool.apply import Applier
from pgbouncer_operator.reconcile.pool.observe import Observer
from pgbouncer_operator.reconcile.pool.plan import plan
from pgbouncer_operator.reconcile.status.timing import AT_REST
from pgbouncer_operator.resources.deployment import Platform


class Reconciler:
    """Brings one pool at a time a step closer to its spec. Level-triggered: only the present state counts."""

    def __init__(self, observer: Observer, applier: Applier, platform: Platform) -> None:
        """Keeps a memory for each pool, whose loss costs nothing but a repeated poke."""
        self._observer = observer
        self._applier = applier
        self._platform = platform
        self._memories: dict[Key, Memory] = {}
        self._resting: dict[Key, object] = {}  # what was seen when nothing was left to do: thousands rest, few change

    async def reconcile(self, key: Key) -> float | None:
        """Seconds until the next look, None when there is nothing to look at. ApiError: not known how far we came."""
        observed = await self._observer.look(key, self._memories.get(key, Memory()))
        if observed is None:
            self._memories.pop(key, None)
            self._resting.pop(key, None)
            return None
        if isinstance(observed, Observed):
            observed = with_measured_demand(observed)
        fingerprint = observed.fingerprint
        if fingerprint is not None and fingerprint == self._resting.pop(key, None):
            self._resting[key] = fingerprint
            self._memories[key] = observed.memory  # time has passed, which is all that demand needs to know
            return AT_REST
        made = plan(observed, self._platform)
        outcome = await self._applier.apply(observed, made)
        self._memories[key] = outcome.memory
        if made.at_rest and fingerprint is not None:
            self._resting[key] = fingerprint
        return outcome.requeue_after
