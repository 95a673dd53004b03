"""Kubernetes Events, which `kubectl describe` shows: one for each change that a user should notice."""

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

REMEMBERED = 4096  # events whose last time is kept
MESSAGE_MAX = 1024  # characters; kube-apiserver refuses longer messages


class EventType(StrEnum):
    """The two types of the API."""

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
    """What happened. reason: one word in CamelCase. message: a sentence without any value of a Secret."""

    type: EventType
    reason: str
    message: str


class EventRecorder:
    """Writes events. The same event about the same object is written once in `quiet` seconds.

    Nothing depends on an event: it is dropped and logged if the bucket is empty or the API server refuses it.
    """

    def __init__(self, kube: Kube, bucket: TokenBucket, wall_clock: Callable[[], datetime], quiet: float) -> None:
        """bucket: limits events of all objects together. wall_clock: returns the time in UTC. quiet: seconds."""
        self._kube = kube
        self._bucket = bucket
        self._wall_clock = wall_clock
        self._quiet = quiet
        self._written: OrderedDict[str, tuple[datetime, int]] = OrderedDict()  # name: last time, count

    async def record(self, regarding: Regarding, event: Event) -> None:
        """Write `event` unless it was written in the last `quiet` seconds. Raises only CancelledError."""
        now = self._wall_clock()
        name = _name(regarding, event)
        last, count = self._written.get(name, (None, 0))
        if last is not None and (now - last).total_seconds() < self._quiet:
            return
        if not self._bucket.take():
            logger.info(
                "Dropped an event, because there were too many",
                extra={"reason": event.reason, "object": regarding.name},
            )
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
            repeated = {key: body[key] for key in ("metadata", "lastTimestamp")}
            await self._kube.merge_patch(EVENTS, {**repeated, "count": max(count, 2)})

    def _remember(self, name: str, now: datetime, count: int) -> None:
        self._written[name] = (now, count)
        self._written.move_to_end(name)
        while len(self._written) > REMEMBERED:
            self._written.popitem(last=False)


def _name(regarding: Regarding, event: Event) -> str:
    """The name of an event's object: the same for the same event, also after a restart of the operator."""
    identity = "\0".join((regarding.uid, event.type, event.reason, event.message))
    return f"{regarding.name}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


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
