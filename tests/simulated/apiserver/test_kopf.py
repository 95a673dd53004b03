"""kopf, as this operator uses it, against the simulated server: the list, the watch, and what ends them."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import kopf
from tests.simulated.apiserver import faults
from tests.simulated.apiserver.faults import Fault
from tests.simulated.apiserver.records import Object
from tests.simulated.apiserver.server import ApiServer

from pgbouncer_operator.kube.resources import CONFIG_MAPS


class NoDiffBase(kopf.DiffBaseStorage):
    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class NoProgress(kopf.ProgressStorage):
    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


@dataclass(slots=True)
class Watcher:
    """What kopf told of ConfigMaps: the last known data of each, and every event type seen."""

    known: dict[str, Object] = field(default_factory=dict)
    types: list[str | None] = field(default_factory=list)


def settings() -> kopf.OperatorSettings:
    made = kopf.OperatorSettings()
    made.scanning.disabled = True
    made.posting.enabled = False
    made.persistence.diffbase_storage = NoDiffBase()
    made.persistence.progress_storage = NoProgress()
    made.networking.error_backoffs = [0.01] * 100
    made.watching.chunk_size = 2
    made.watching.reconnect_backoff = 0.01
    return made


@contextlib.asynccontextmanager
async def watching(api: ApiServer) -> AsyncIterator[Watcher]:
    watcher, registry, stop = Watcher(), kopf.OperatorRegistry(), threading.Event()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=api.url)

    @kopf.on.event("", "v1", "configmaps", registry=registry)
    async def seen(event: Any, **_: Any) -> None:
        name, data = event["object"]["metadata"]["name"], dict(event["object"].get("data") or {})
        watcher.types.append(event["type"])
        if event["type"] == "DELETED":
            watcher.known.pop(name, None)
        else:
            watcher.known[name] = data

    def operate() -> None:
        asyncio.run(
            kopf.operator(registry=registry, settings=settings(), standalone=True, clusterwide=True, stop_flag=stop)
        )

    thread = threading.Thread(target=operate)
    thread.start()
    try:
        yield watcher
    finally:
        stop.set()
        await asyncio.to_thread(thread.join)


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        await asyncio.sleep(0.01)


async def cut_off(api: ApiServer) -> Fault:
    """End all streams and refuse new ones; gives the fault to remove."""
    gap = api.faults.add(Fault(faults.Answer(503), verb="watch", times=None))
    api.cut_watches()
    await until(lambda: api.watches.count() == 0)
    return gap


def config_map(name: str, **data: str) -> Object:
    metadata = {"namespace": "default", "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def test_kopf_sees_what_is_there_and_what_comes_and_writes_nothing() -> None:
    async with ApiServer() as api:
        for name in "abc":
            api.create(config_map(name, k="1"))
        async with watching(api) as watcher:
            await until(lambda: len(watcher.known) == 3)
            await until(lambda: api.watches.count("configmaps") == 1)
            api.edit(CONFIG_MAPS, ("default", "a"), lambda body: body["data"].update(k="2"))
            api.delete(CONFIG_MAPS, ("default", "b"))
            api.create(config_map("d"))
            await until(lambda: watcher.known == {"a": {"k": "2"}, "c": {"k": "1"}, "d": {}})
        assert {call.verb for call in api.calls} == {"list", "watch"}
        assert {write.manager for write in api.writes} == {"somebody"}


async def test_kopf_goes_on_after_a_cut_stream_without_losing_what_happened_meanwhile() -> None:
    async with ApiServer() as api, watching(api) as watcher:
        await until(lambda: api.watches.count("configmaps") == 1)
        gap = await cut_off(api)
        api.create(config_map("a"))
        api.faults.remove(gap)
        await until(lambda: "a" in watcher.known)
        assert watcher.types == ["ADDED"]


async def test_kopf_lists_again_after_410_and_misses_what_was_deleted_in_the_gap() -> None:
    """Why this operator keeps its own cache and lists of its own accord."""
    async with ApiServer() as api:
        api.create(config_map("a"))
        api.create(config_map("b"))
        async with watching(api) as watcher:
            await until(lambda: api.watches.count("configmaps") == 1)
            gap = await cut_off(api)
            api.delete(CONFIG_MAPS, ("default", "b"))
            api.create(config_map("c"))
            api.expire_watches("configmaps")
            api.faults.remove(gap)
            await until(lambda: "c" in watcher.known)
            assert set(watcher.known) == {"a", "b", "c"}
            assert "DELETED" not in watcher.types


async def test_kopf_outlives_an_outage_of_the_api() -> None:
    async with ApiServer() as api, watching(api) as watcher:
        await until(lambda: api.watches.count("configmaps") == 1)
        outage = api.faults.add(Fault(faults.Answer(503), times=None))
        api.cut_watches()
        refused = len(api.calls)
        await until(lambda: len(api.calls) > refused + 3)
        api.create(config_map("a"))
        api.faults.remove(outage)
        await until(lambda: "a" in watcher.known)
