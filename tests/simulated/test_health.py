import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from pgbouncer_operator.engine.leader import Elector, Lease, LeaseTiming
from pgbouncer_operator.engine.ratelimit import Backoff
from pgbouncer_operator.engine.workers import WorkerOptions, Workers
from pgbouncer_operator.engine.workqueue import WorkQueue
from pgbouncer_operator.health import HealthServer, Vitals
from pgbouncer_operator.metrics import Metrics

Get = Callable[[str], Awaitable[tuple[int, str]]]


class Leases:
    """A lease in memory for a single candidate."""

    lease: Lease | None = None

    async def get(self) -> Lease | None:
        return self.lease

    async def create(self, lease: Lease) -> Lease:
        self.lease = lease
        return lease

    async def update(self, lease: Lease) -> Lease:
        self.lease = lease
        return lease


@pytest.fixture
def vitals() -> Vitals:
    return Vitals()


@pytest.fixture
async def get(vitals: Vitals, unused_tcp_port: int) -> AsyncIterator[Get]:
    server = HealthServer(unused_tcp_port, vitals, Metrics())
    await server.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{unused_tcp_port}") as session:

        async def ask(path: str) -> tuple[int, str]:
            async with session.get(path) as response:
                return response.status, (await response.text()).strip()

        yield ask
    await server.stop()


def elector(holder: str = "") -> Elector:
    store = Leases()
    store.lease = Lease(holder, 15.0) if holder else None
    return Elector(store, "us", lambda: 0.5, LeaseTiming())


async def test_a_starting_operator_lives_but_is_not_ready(get: Get) -> None:
    assert await get("/livez") == (200, "ok")
    assert await get("/readyz") == (503, "not everything is listed yet")


async def test_a_leader_is_ready_once_everything_is_listed(get: Get, vitals: Vitals) -> None:
    vitals.elector = elector()
    await vitals.elector.acquire()
    assert (await get("/readyz"))[0] == 503
    vitals.synced = True
    assert await get("/readyz") == (200, "ok")


async def test_a_standby_is_ready(get: Get, vitals: Vitals) -> None:
    vitals.elector = elector(holder="another")
    waiting = asyncio.create_task(vitals.elector.acquire())
    while vitals.elector.read_at is None:
        await asyncio.sleep(0)
    assert await get("/readyz") == (200, "ok")
    waiting.cancel()


async def test_a_standby_that_cannot_read_the_lease_is_not_ready(get: Get, vitals: Vitals) -> None:
    vitals.elector = elector(holder="another")
    assert await get("/readyz") == (503, "the lease cannot be read")
    waiting = asyncio.create_task(vitals.elector.acquire())
    while vitals.elector.read_at is None:
        await asyncio.sleep(0)
    waiting.cancel()
    vitals.silent_after = -1.0  # the last read is too long ago
    assert await get("/readyz") == (503, "the lease cannot be read")


async def test_a_stuck_reconcile_is_an_ailment_and_a_busy_one_is_not(get: Get, vitals: Vitals) -> None:
    queue = WorkQueue[tuple[str, str]]()

    started = asyncio.Event()

    async def reconcile(_: tuple[str, str]) -> None:
        started.set()
        await asyncio.Event().wait()

    vitals.workers = Workers(queue, reconcile, Backoff(lambda: 0.5), WorkerOptions())
    running = asyncio.create_task(vitals.workers.run())
    queue.add(("ns", "a"))
    await started.wait()
    assert await get("/livez") == (200, "ok")
    vitals.stuck_after = 0.0
    assert await get("/livez") == (503, "a reconcile is stuck")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_silent_elector_is_an_ailment(get: Get, vitals: Vitals) -> None:
    vitals.elector = elector()
    await vitals.elector.acquire()
    assert await get("/livez") == (200, "ok")
    vitals.silent_after = -1.0
    assert await get("/livez") == (503, "the elector is silent")


async def test_ended_watches_are_an_ailment(get: Get, vitals: Vitals) -> None:
    watching = [True]
    vitals.watching = lambda: watching[0]
    assert await get("/livez") == (200, "ok")
    watching[0] = False
    assert await get("/livez") == (503, "the watches have ended")


async def test_metrics_are_served_in_prometheus_text(get: Get) -> None:
    code, text = await get("/metrics")
    assert code == 200
    assert "pgbouncer_operator_queue_length 0.0" in text


async def test_what_is_not_served_is_not_found(get: Get) -> None:
    assert (await get("/state"))[0] == 404
