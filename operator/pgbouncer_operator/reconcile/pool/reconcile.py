"""One reconcile of a pool: observe, plan, apply."""

from dataclasses import replace

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
    """Brings one pool at a time a step closer to its spec. Level-triggered: only the present state matters."""

    def __init__(self, observer: Observer, applier: Applier, platform: Platform) -> None:
        """Keeps a memory for each pool; without it a poke is repeated, no more."""
        self._observer = observer
        self._applier = applier
        self._platform = platform
        self._memories: dict[Key, Memory] = {}
        self._uids: dict[Key, str] = {}  # of the object that the memory is about
        # The fingerprint of the observation that left nothing to do: of thousands of pools, few change.
        self._resting: dict[Key, object] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Seconds to the next look; None when there is no such pool. ApiError: some writes may have been done."""
        before = self._memory(key)
        observed = await self._observer.look(key, before)
        if observed is None:
            self._forget(key)
            return None
        if isinstance(observed, Observed):
            observed = with_measured_demand(observed)
        fingerprint = observed.fingerprint
        if fingerprint is not None and fingerprint == self._resting.pop(key, None):
            self._resting[key] = fingerprint
            self._memories[key] = observed.memory  # only time has passed, which the measured demand has to know
            return AT_REST
        planned = plan(observed, self._platform)
        applied = await self._applier.apply(observed, planned)
        self._memories[key] = applied.memory
        if applied.conflict and observed.credentials is not None:
            # The Secrets are read again: what this read asked to write may not be written yet.
            self._memories[key] = replace(applied.memory, reading=before.reading)
        if planned.at_rest and fingerprint is not None:
            self._resting[key] = fingerprint
        return applied.requeue_after

    def _memory(self, key: Key) -> Memory:
        """What is remembered of this very object: one of the same name that was made since begins with nothing."""
        view = self._observer.world.pools.get(key)
        uid = view.uid if view else ""
        if self._uids.get(key) != uid:
            self._forget(key)
            self._uids[key] = uid
        return self._memories.get(key, Memory())

    def _forget(self, key: Key) -> None:
        self._memories.pop(key, None)
        self._resting.pop(key, None)
        self._uids.pop(key, None)
