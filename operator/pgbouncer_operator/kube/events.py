"""Events that `kubectl describe` shows: a few words for each transition, never a stream."""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pgbouncer_operator import naming
from pgbouncer_operator.engine.ratelimit import TokenBucket
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.kube.resources import EVENTS, Resource
from pgbouncer_operator.kube.transport import Object

logger = logging.getLogger(__name__)

REMEMBERED = 4096
MESSAGE_MAX = 1024  # kube-apiserver refuses longer messages


class EventType(StrEnum):
    """As in the API."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Regarding:
    """The object that an event is about."""

    resource: Resource
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Event:
    """What happened: a reason in CamelCase and a sentence without secrets."""

    type: EventType
    reason: str
    message: str


class EventRecorder:
    """Writes events; the same event about the same object within `quiet` seconds is written once.

    An event is a courtesy: if the bucket is empty or the API refuses, it is dropped and logged.
    """

    def __init__(self, kube: Kube, bucket: TokenBucket, wall_clock: Callable[[], datetime], quiet: float) -> None:
        """`wall_clock` gives the time in UTC."""
        self._kube = kube
        self._bucket = bucket
        self._wall_clock = wall_clock
        self._quiet = quiet
        self._written: OrderedDict[str, tuple[datetime, int]] = OrderedDict()  # name: last time, count

    async def record(self, regarding: Regarding, event: Event) -> None:
        """Write `event` unless it was just written. Raises nothing but CancelledError."""
        now = self._wall_clock()
        name = _name(regarding, event)
        last, count = self._written.get(name, (None, 0))
        if last is not None and (now - last).total_seconds() < self._quiet:
            return
        if not self._bucket.take():
            logger.info("Dropped an event: too many at once", extra={"reason": event.reason, "object": regarding.name})
            return
        self._remember(name, now, count + 1)
        try:
            await self._write(_body(name, regarding, event, now), count + 1)
        except errors.ApiError as error:
            logger.info("Could not write an event", extra={"reason": event.reason, "error": str(error)})

    async def _write(self, body: Object, count: int) -> None:
        try:
            await self._kube.create(EVENTS, body)
        except errors.AlreadyExists:
            again = {key: body[key] for key in ("metadata", "lastTimestamp")}
            await self._kube.merge_patch(EVENTS, {**again, "count": max(count, 2)})

    def _remember(self, name: str, now: datetime, count: int) -> None:
        self._written[name] = (now, count)
        self._written.move_to_end(name)
        while len(self._written) > REMEMBERED:
            self._written.popitem(last=False)


def _name(regarding: Regarding, event: Event) -> str:
    """The same event about the same object has the same name, after a restart too."""
    words = "\0".join((regarding.uid, event.type, event.reason, event.message))
    return f"{regarding.name}.{hashlib.sha256(words.encode()).hexdigest()[:16]}"


def _body(name: str, regarding: Regarding, event: Event, now: datetime) -> Object:
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    message = event.message if len(event.message) <= MESSAGE_MAX else event.message[: MESSAGE_MAX - 1] + "…"
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": name, "namespace": regarding.namespace or "default"},
        "involvedObject": {
            "apiVersion": regarding.resource.api_version,
            "kind": regarding.resource.kind,
            "namespace": regarding.namespace,
            "name": regarding.name,
            "uid": regarding.uid,
        },
        "type": event.type.value,
        "reason": event.reason,
        "message": message,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
        "source": {"component": naming.FIELD_MANAGER},
        "reportingComponent": naming.FIELD_MANAGER,
        "reportingInstance": "",
    }
