"""Which operator serves an object that several watch: one, by the object's status. The others stand by.

An operator is the namespace that it runs in: its replicas elect their leader there. `status.operator` names the
operator that serves a ConnectionPool or a PostgresServer. Another one asks in the same field whether that operator
still does, and the one that serves answers by writing its name again. Without an answer, the one that asked takes over.
An operator that is alone asks nothing. Every write is compare-and-swap, and no clocks of two machines are compared.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pgbouncer_operator import naming
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.kube.events import Event, EventType, Regarding
from pgbouncer_operator.kube.resources import CONNECTION_POOLS, POSTGRES_SERVERS, Resource
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache, project
from pgbouncer_operator.reconcile.cache.keys import AnyKey, ServerKey
from pgbouncer_operator.reconcile.cache.views import PoolView, ServerView
from pgbouncer_operator.reconcile.intervals import NORMAL, Intervals

logger = logging.getLogger(__name__)

ASKED = " asked by "
SOON = 0.2  # seconds to the next look after a conflict
BUSY = 5.0  # seconds to the next look while another object of the same operator is asked about
RETRY = 600.0  # seconds until the field is written again of a kind whose definition dropped it

Tell = Callable[[Regarding, Event], Awaitable[None]]
Other = tuple[str, str]  # namespace of objects, and the operator that serves them


@dataclass(frozen=True, slots=True)
class _Sight:
    """What the field of an object that another operator serves said last."""

    value: str
    """The field."""
    since: float
    """When it was first seen, in monotonic seconds."""


@dataclass(slots=True)
class Ownership:
    """Decides for each object whether this operator serves it."""

    kube: Kube
    """Writes the field."""
    world: ClusterCache
    """The stores."""
    me: str
    """Namespace of this operator."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    tell: Tell
    """Writes an event."""
    wake: Callable[[AnyKey], None]
    """Puts a key into the queue."""
    intervals: Intervals = NORMAL
    """How long an answer counts, and how long one is waited for."""
    _seen: dict[AnyKey, _Sight] = field(default_factory=dict)
    """The objects that others serve."""
    _heard: dict[Other, float] = field(default_factory=dict)
    """When another operator answered last, in monotonic seconds."""
    _asking: dict[Other, AnyKey] = field(default_factory=dict)
    """The object whose field has this operator's question: one at a time, because an answer counts for all."""
    _silent: set[Other] = field(default_factory=set)
    """Operators that did not answer."""
    _dropped: dict[str, float] = field(default_factory=dict)
    """By kind, when its definition, an older one, dropped the field last, in monotonic seconds."""

    @property
    def others(self) -> int:
        """Number of objects that other operators serve."""
        return len(self._seen)

    async def stands_by(self, key: AnyKey) -> float | None:
        """Seconds until the next look at an object that another operator serves; None if this one serves it.

        Raises ApiError when the API server fails.
        """
        view = self._view(key)
        if view is None or not (view.operator or self._has_field(view)):
            self._forget(key)
            return None
        owner, _, asker = view.operator.partition(ASKED)
        if owner not in ("", self.me):
            return await self._of_another(key, view, owner, asker)
        self._forget(key)
        if view.operator == self.me or await self._write(view, self.me):
            return None
        return SOON

    async def _of_another(self, key: AnyKey, view: PoolView | ServerView, owner: str, asker: str) -> float | None:
        other, now, seen = (view.namespace, owner), self.clock(), self._seen.get(key)
        if seen is None or seen.value != view.operator:
            self._seen[key] = _Sight(view.operator, now)
            if asker != self.me:
                self._withdraw(key)
            if seen is None:
                self._silent.discard(other)  # it has begun to serve an object
                await self._say(view, owner)
            elif not asker:
                self._answered(other, now)
            return min(self.intervals.answer, self.intervals.ask)
        left = seen.since + self.intervals.answer - now
        if (asker == self.me and left <= 0) or other in self._silent:
            return await self._take_over(key, view, other)
        return left if asker == self.me else await self._ask(key, view, seen)

    async def _ask(self, key: AnyKey, view: PoolView | ServerView, seen: _Sight) -> float:
        """Ask whether the other operator still serves the object, if nobody has answered for long enough."""
        owner, _, asker = seen.value.partition(ASKED)
        other, now = (view.namespace, owner), self.clock()
        patience = 2 * self.intervals.answer if asker else self.intervals.ask
        due = max(seen.since, self._heard.get(other, seen.since)) + patience - now
        if due > 0:
            return due
        if other in self._asking:
            return BUSY
        question = f"{owner}{ASKED}{self.me}"
        if not await self._write(view, question):
            return SOON
        self._asking[other] = key
        self._seen[key] = _Sight(question, now)
        return self.intervals.answer

    def _answered(self, other: Other, now: float) -> None:
        self._heard[other] = now
        self._asking.pop(other, None)
        self._silent.discard(other)

    async def _take_over(self, key: AnyKey, view: PoolView | ServerView, other: Other) -> float | None:
        """Serve an object whose operator does not answer, and have its other objects looked at."""
        if not await self._write(view, self.me):
            return SOON
        logger.warning(
            "Another operator does not answer; this one serves its objects",
            extra={"namespace": other[0], "operator": other[1], "object": view.name},
        )
        self._asking.pop(other, None)
        self._forget(key)
        if other not in self._silent:
            self._silent.add(other)
            for each, sight in tuple(self._seen.items()):
                if (_namespace(each), sight.value.partition(ASKED)[0]) == other:
                    self.wake(each)
        return None

    async def _write(self, view: PoolView | ServerView, value: str) -> bool:
        """Whether the field was written. False after a conflict: the object has changed meanwhile."""
        resource = _resource(view)
        metadata = {"namespace": view.namespace, "name": view.name, "uid": view.uid}
        metadata["resourceVersion"] = str(view.resource_version)
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
        try:
            answer = await self.kube.merge_patch(resource, {**body, "status": {"operator": value}}, "status")
        except errors.Conflict:
            return False
        except errors.NotFound:
            return True  # it is gone, which the watch brings
        if (answer.get("status") or {}).get("operator") == value:
            self._dropped.pop(resource.kind, None)
        else:
            self._dropped[resource.kind] = self.clock()
        self.world.put(project(resource, {**body, **answer}))
        return True

    async def _say(self, view: PoolView | ServerView, owner: str) -> None:
        logger.warning(
            "Another operator serves an object; this one stands by",
            extra={"namespace": view.namespace, "object": view.name, "operator": owner},
        )
        resource = _resource(view)
        message = (
            f"The operator of namespace {owner} serves this {resource.kind}; the one of namespace {self.me} stands by. "
            "Uninstall one of them, or give them different watchNamespaces."
        )
        about = Regarding(resource, view.namespace, view.name, view.uid)
        await self.tell(about, Event(EventType.WARNING, naming.EVENT_STANDS_BY, message))

    def _view(self, key: AnyKey) -> PoolView | ServerView | None:
        if isinstance(key, ServerKey):
            return self.world.servers.store.get(key.plain)
        return self.world.pools.get(key)

    def _has_field(self, view: PoolView | ServerView) -> bool:
        """Whether the kind's definition may have the field. It may have been upgraded since it dropped the field."""
        dropped = self._dropped.get(_resource(view).kind)
        return dropped is None or self.clock() - dropped >= RETRY

    def _forget(self, key: AnyKey) -> None:
        self._seen.pop(key, None)
        self._withdraw(key)

    def _withdraw(self, key: AnyKey) -> None:
        """The object's field no longer has this operator's question: another object may be asked about."""
        for other in [other for other, asked in self._asking.items() if asked == key]:
            del self._asking[other]


def _resource(view: PoolView | ServerView) -> Resource:
    return CONNECTION_POOLS if isinstance(view, PoolView) else POSTGRES_SERVERS


def _namespace(key: AnyKey) -> str:
    return key.namespace if isinstance(key, ServerKey) else key[0]
