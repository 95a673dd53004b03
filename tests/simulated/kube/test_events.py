from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.simulated.apiserver import faults
from tests.simulated.apiserver.faults import Fault
from tests.simulated.kube.clusters import Pair, pair

from pgbouncer_operator.engine.ratelimit import TokenBucket
from pgbouncer_operator.kube.events import Event, EventRecorder, EventType, Regarding
from pgbouncer_operator.kube.resources import CONNECTION_POOLS, EVENTS

POOL = Regarding(CONNECTION_POOLS, "default", "shop", "uid-1")
READY = Event(EventType.NORMAL, "Ready", "All 2 pods serve.")
STALLED = Event(EventType.WARNING, "NameConflict", "A Service of this name exists.")
START = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)


class Recording:
    """A recorder whose clock a test sets."""

    def __init__(self, world: Pair, burst: int = 10) -> None:
        self.api = world.api
        self.now = START
        bucket = TokenBucket(rate=1.0, burst=burst, clock=self.seconds)
        self.recorder = EventRecorder(world.kube, bucket, lambda: self.now, quiet=600.0)

    def seconds(self) -> float:
        return (self.now - START).total_seconds()

    def found(self) -> list[tuple[str, int]]:
        return sorted((event["reason"], event["count"]) for event in self.api.find(EVENTS))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair(tmp_path) as pair_:
        yield pair_


async def test_an_event_says_what_describe_needs(world: Pair) -> None:
    await Recording(world).recorder.record(POOL, STALLED)
    (event,) = world.api.find(EVENTS)
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"] == {
        "apiVersion": "pgbouncer-operator.io/v1alpha1",
        "kind": "ConnectionPool",
        "namespace": "default",
        "name": "shop",
        "uid": "uid-1",
    }
    assert (event["type"], event["reason"], event["message"]) == ("Warning", STALLED.reason, STALLED.message)
    assert (event["firstTimestamp"], event["count"]) == ("2026-11-21T02:00:00Z", 1)
    assert event["source"] == {"component": "pgbouncer-operator"}


async def test_the_same_event_is_written_once_and_counted_when_it_comes_back_later(world: Pair) -> None:
    recording = Recording(world)
    for _ in range(5):
        await recording.recorder.record(POOL, READY)
    assert recording.found() == [("Ready", 1)]
    recording.now += timedelta(hours=1)
    await recording.recorder.record(POOL, READY)
    assert recording.found() == [("Ready", 2)]
    (event,) = world.api.find(EVENTS)
    assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2026-11-21T02:00:00Z", "2026-11-21T03:00:00Z")


async def test_a_restarted_operator_does_not_double_an_event(world: Pair) -> None:
    await Recording(world).recorder.record(POOL, READY)
    await Recording(world).recorder.record(POOL, READY)
    assert Recording(world).found() == [("Ready", 2)]


async def test_different_objects_reasons_and_messages_are_different_events(world: Pair) -> None:
    recording = Recording(world)
    await recording.recorder.record(POOL, READY)
    await recording.recorder.record(POOL, STALLED)
    await recording.recorder.record(Regarding(CONNECTION_POOLS, "default", "shop", "uid-2"), READY)
    assert recording.found() == [("NameConflict", 1), ("Ready", 1), ("Ready", 1)]


async def test_a_burst_is_cut_off(world: Pair) -> None:
    recording = Recording(world, burst=3)
    for number in range(10):
        await recording.recorder.record(POOL, Event(EventType.NORMAL, "Spam", str(number)))
    assert len(recording.found()) == 3


async def test_an_event_that_cannot_be_written_hurts_nobody(world: Pair) -> None:
    world.api.faults.add(Fault(faults.Answer(403), plural="events"))
    recording = Recording(world)
    await recording.recorder.record(POOL, READY)
    await recording.recorder.record(POOL, STALLED)
    assert recording.found() == [("NameConflict", 1)]


async def test_a_long_message_is_cut_to_what_the_api_takes(world: Pair) -> None:
    await Recording(world).recorder.record(POOL, Event(EventType.NORMAL, "Long", "x" * 5000))
    (event,) = world.api.find(EVENTS)
    assert len(event["message"]) == 1024
