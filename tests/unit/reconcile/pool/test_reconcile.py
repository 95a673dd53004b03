"""What one reconcile remembers for the next one of the same object."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import cast

from tests.unit.reconcile.looks import PLATFORM, healthy

from pgbouncer_operator.reconcile.cache.keys import Key
from pgbouncer_operator.reconcile.memory import Memory
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pool.apply import Applied, Applier
from pgbouncer_operator.reconcile.pool.observe import Observer
from pgbouncer_operator.reconcile.pool.reconcile import Reconciler

KEY: Key = ("web", "shop")
LEARNT = "learnt"


@dataclass
class FakeObserver:
    """Observes a pool that is well, of the UID that the world has, and keeps what each look was told to remember."""

    uid: str = "one"
    memories: list[Memory] = field(default_factory=list)

    @property
    def world(self) -> SimpleNamespace:
        return SimpleNamespace(pools={KEY: replace(healthy().view, uid=self.uid)} if self.uid else {})

    async def look(self, key: Key, memory: Memory) -> Observed | None:
        self.memories.append(memory)
        return replace(healthy(), view=self.world.pools[key], memory=memory) if self.uid else None


class FakeApplier:
    """Learns something in each plan."""

    async def apply(self, observed: Observed, plan: Sequence[object]) -> Applied:
        return Applied(replace(observed.memory, endpoints=LEARNT), None)


async def remembered(*uids: str) -> list[str]:
    """What each look remembers, of objects with these UIDs one after the other; "" for no object."""
    observer = FakeObserver()
    reconciler = Reconciler(cast(Observer, observer), cast(Applier, FakeApplier()), PLATFORM)
    for uid in uids:
        observer.uid = uid
        await reconciler.reconcile(KEY)
    return [each.endpoints for each in observer.memories]


async def test_the_next_look_at_the_same_object_remembers() -> None:
    assert await remembered("one", "one", "one") == ["", LEARNT, LEARNT]


async def test_a_new_object_of_the_same_name_begins_with_nothing() -> None:
    """Deleted and made again so fast that no look came in between, as `kubectl replace --force` does."""
    assert await remembered("one", "two", "two") == ["", "", LEARNT]


async def test_an_object_that_is_gone_is_forgotten() -> None:
    assert await remembered("one", "", "one") == ["", "", ""]
