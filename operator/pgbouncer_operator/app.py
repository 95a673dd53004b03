"""The operator as a process: health server, leader election, watches in a thread of their own, workers.

Wiring only. The order matters: health answers first, then the lease, one list of everything, watches and work.
"""

import asyncio
import contextlib
import logging
import os
import random
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pgbouncer_operator import __version__, log, naming, postgres
from pgbouncer_operator.engine.leader import Elector, LeaseLost, LeaseTiming
from pgbouncer_operator.engine.ratelimit import Backoff, TokenBucket
from pgbouncer_operator.engine.workers import WorkerOptions, Workers
from pgbouncer_operator.engine.workqueue import Lane, WorkQueue
from pgbouncer_operator.handlers import Deliver, Watch, Watcher, login_inside, login_outside
from pgbouncer_operator.health import HealthServer, Vitals
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.kube.events import EventRecorder
from pgbouncer_operator.kube.lease import KubeLeaseStore
from pgbouncer_operator.kube.resources import ENDPOINT_SLICES, POSTGRES_SERVERS, Resource
from pgbouncer_operator.kube.transport import RequestOptions
from pgbouncer_operator.metrics import Metrics
from pgbouncer_operator.reconcile.cache import workload_store
from pgbouncer_operator.reconcile.cache.cluster import WATCHED, ClusterCache, View, project, selector
from pgbouncer_operator.reconcile.cache.keys import COALESCE, AnyKey, ServerKey, delay
from pgbouncer_operator.reconcile.dispatch import Dispatcher
from pgbouncer_operator.reconcile.pool.agents import Agents
from pgbouncer_operator.reconcile.pool.apply import Applier
from pgbouncer_operator.reconcile.pool.observe import Observer
from pgbouncer_operator.reconcile.pool.reconcile import Reconciler
from pgbouncer_operator.reconcile.server.limits_poller import LimitsPoller
from pgbouncer_operator.reconcile.server.reconcile import ServerReconciler
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.settings import Settings

logger = logging.getLogger(__name__)

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
EVENTS_RATE, EVENTS_BURST, EVENTS_QUIET = 5.0, 100, 300.0


def run(settings: Settings, kubeconfig: Path | None) -> int:
    """Run until SIGTERM or SIGINT; the exit code. kubeconfig: None inside a cluster."""
    log.configure(settings.log_level, settings.log_format)
    logger.info("Starting", extra={"version": __version__, "identity": settings.identity})
    try:
        asyncio.run(_Operator(settings, kubeconfig).run())
    except LeaseLost as error:
        logger.error("Lost the lease; the process ends so that nothing is written late", extra={"error": str(error)})
        return 1
    return 0


@dataclass(slots=True)
class _Operator:
    settings: Settings
    kubeconfig: Path | None
    metrics: Metrics = field(default_factory=Metrics)
    world: ClusterCache = field(default_factory=ClusterCache)
    queue: WorkQueue[AnyKey] = field(default_factory=WorkQueue)

    async def run(self) -> None:
        """Serve health, then lead as long as we hold the lease."""
        vitals = Vitals()
        self.metrics.queue_length.set_function(lambda: len(self.queue))
        self.metrics.pools.set_function(lambda: len(self.world.pools))
        self.metrics.statuses = self.world.statuses
        self.metrics.servers = self.world.servers.statuses
        self.metrics.leader.set_function(lambda: vitals.synced)
        async with contextlib.AsyncExitStack() as closing:
            kube = await self._connect()
            closing.push_async_callback(kube.close)
            server = HealthServer(self.settings.http_port, vitals, self.metrics)
            closing.push_async_callback(server.stop)
            await server.start()
            leading = asyncio.ensure_future(self._elect(kube, vitals))
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, leading.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                await leading

    async def _connect(self) -> Kube:
        limits = RequestOptions(observe=self.metrics.called)
        if self.kubeconfig is None:
            return Kube.in_cluster(limits, SERVICE_ACCOUNT, os.environ)
        return await Kube.from_kubeconfig(limits, self.kubeconfig)

    async def _elect(self, kube: Kube, vitals: Vitals) -> None:
        async def lead() -> None:
            await self._lead(kube, vitals)

        if not self.settings.leader_election:
            return await lead()
        store = KubeLeaseStore(kube, self.settings.namespace, naming.LEASE_NAME, _utc)
        elector = Elector(store, self.settings.identity, random.random, LeaseTiming())
        vitals.elector = elector
        return await elector.run(lead)

    async def _lead(self, kube: Kube, vitals: Vitals) -> None:
        """List everything, then watch and work until cancelled."""
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as closing:
            agents = Agents.open()
            closing.push_async_callback(agents.close)
            readings = LimitsPoller(kube, loop.time, lambda key: self.queue.add_after(key, COALESCE), postgres.limits)
            closing.push_async_callback(readings.close)
            workers = self._workers(kube, agents, readings)
            vitals.workers = workers
            self.world.clients.enabled = self.settings.client_workloads
            await self._sync(kube)
            vitals.synced = True
            watching = _Watching(_Inbox(self, loop, project).deliver)
            closing.push_async_callback(watching.stop)
            await watching.follow(self._watch())
            vitals.watching = lambda: watching.alive
            for known in self.world.servers.store.keys():  # noqa: SIM118  a Store is no mapping
                self.queue.add(ServerKey(*known), Lane.RESYNC)
            for key in tuple(self.world.pools.keys()):
                self.queue.add(key, Lane.RESYNC)
            async with asyncio.TaskGroup() as group:
                group.create_task(workers.run(), name="workers")
                group.create_task(self._resync(kube, watching), name="resync")
                group.create_task(self._follow(_Inbox(self, loop, workload_store.project)), name="clients")

    def _workers(self, kube: Kube, agents: Agents, readings: LimitsPoller) -> Workers[AnyKey]:
        loop = asyncio.get_running_loop()
        events = EventRecorder(kube, TokenBucket(EVENTS_RATE, EVENTS_BURST, loop.time), _utc, EVENTS_QUIET)
        platform = Platform(self.settings.pool_image, self.settings.image_pull_policy, self.settings.endpoint_delay)
        observer = Observer(kube, agents, self.world, loop.time, _stamp, self.settings.connection_secrets)
        pools = Reconciler(observer, Applier(kube, self.world, events), platform)
        servers = ServerReconciler(kube, self.world, loop.time, _stamp, readings)
        work = Dispatcher(pools, servers, lambda key: self.queue.add_after(key, COALESCE))
        options = WorkerOptions(
            count=self.settings.workers,
            finished=self.metrics.reconciled,
            pause_for=_retry_after,
            expected=(TimeoutError, errors.ApiError),
        )
        return Workers(self.queue, work.reconcile, Backoff(random.random), options)

    def _watch(self) -> Watch:
        # A watch that is refused would end all others, again and again.
        allowed = {ENDPOINT_SLICES: self.world.slices.allowed, POSTGRES_SERVERS: self.world.servers.allowed}
        return self._watch_of({resource: selector(resource) for resource in WATCHED if allowed.get(resource, True)})

    def _watch_of(self, selectors: Mapping[Resource, str]) -> Watch:
        if self.kubeconfig is not None:
            return Watch(selectors, self.settings.namespaces, login_outside)
        return Watch(selectors, self.settings.namespaces, lambda _: login_inside(SERVICE_ACCOUNT, os.environ))

    async def _follow(self, inbox: "_Inbox") -> None:
        """Watch client workloads from when a pool asks for some: only kinds that are asked for, and allowed."""
        watcher: Watcher | None = None
        watched: tuple[Resource, ...] = ()
        try:
            while True:
                await self.world.clients.changed.wait()
                self.world.clients.changed.clear()
                if self.world.clients.watched == watched:
                    continue
                watched = self.world.clients.watched
                if watcher is not None:
                    await asyncio.to_thread(watcher.stop, 5.0)
                if not watched:
                    watcher = None
                    continue
                watcher = Watcher(self._watch_of(dict.fromkeys(watched, "")), inbox.deliver, random.Random())
                watcher.start()
        finally:
            if watcher is not None:
                await asyncio.to_thread(watcher.stop, 5.0)

    async def _sync(self, kube: Kube) -> None:
        """The first list of everything; patient, because the CRD may come after us."""
        pauses = Backoff[str](random.random, base=1.0, cap=15.0)
        while True:
            try:
                await self.world.sync(kube, self.settings.namespaces)
                return
            except errors.ApiError as error:
                logger.warning("Cannot list yet; it is tried again", extra={"error": str(error)})
                await asyncio.sleep(pauses.delay("list"))

    async def _resync(self, kube: Kube, watching: "_Watching") -> None:
        """List everything now and then: a watch that was cut too long misses deletions.

        What may be watched may have changed, too: a CRD that came after us, or a right.
        """
        while True:
            await asyncio.sleep(self.settings.resync * random.uniform(0.8, 1.2))
            try:
                touched = await self.world.sync(kube, self.settings.namespaces)
            except errors.ApiError as error:
                logger.warning("Could not list; the next time comes", extra={"error": str(error)})
                continue
            await watching.follow(self._watch())
            for key in touched:
                self.queue.add(key, Lane.RESYNC)


@dataclass(slots=True)
class _Watching:
    """The watches of all that may be watched; begun anew when that is something else than before."""

    deliver: Deliver
    kinds: tuple[Resource, ...] = ()
    watcher: Watcher | None = None

    @property
    def alive(self) -> bool:
        """Whether the watches run."""
        return self.watcher is not None and self.watcher.alive

    async def follow(self, watch: Watch) -> None:
        """Watch this, and nothing else."""
        kinds = tuple(watch.selectors)
        if kinds == self.kinds:
            return
        former, self.kinds = self.watcher, kinds
        self.watcher = Watcher(watch, self.deliver, random.Random())
        self.watcher.start()
        if former is not None:
            await asyncio.to_thread(former.stop, 5.0)

    async def stop(self) -> None:
        """Watch no more."""
        if self.watcher is not None:
            await asyncio.to_thread(self.watcher.stop, 5.0)


@dataclass(frozen=True, slots=True)
class _Inbox:
    """Takes news in the watches' thread and hands them to the workers' loop, which owns stores and queue."""

    operator: _Operator
    loop: asyncio.AbstractEventLoop
    project: Callable[[Resource, Mapping[str, Any]], View]

    def deliver(self, resource: Resource, body: Mapping[str, Any], gone: bool) -> None:
        """Called in the watches' thread; the costly part, the projection, is done there."""
        try:
            view = self.project(resource, {"apiVersion": resource.api_version, "kind": resource.kind, **body})
        except (KeyError, TypeError, ValueError) as error:
            logger.error("Could not read an object", extra={"kind": resource.kind, "error": repr(error)})
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: we are stopping
            self.loop.call_soon_threadsafe(self._take, view, gone)

    def _take(self, view: Any, gone: bool) -> None:
        world = self.operator.world
        if world.remove(view) if gone else world.put(view):
            for key in world.concerned(view):
                self.operator.queue.add_after(key, delay(view))


def _utc() -> datetime:
    return datetime.now(UTC)


def _stamp() -> str:
    return _utc().strftime("%Y-%m-%dT%H:%M:%SZ")


def _retry_after(error: Exception) -> float | None:
    return error.retry_after if isinstance(error, errors.TooManyRequests) else None
