"""The operator as a process: it builds every part, connects them and runs them. It decides nothing.

The order of the start: health server, lease, one list of every kind, watches, workers.
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
from pgbouncer_operator.handlers import STOP_SECONDS, Watch, Watcher, Watches, login_inside, login_outside
from pgbouncer_operator.health import HealthServer, Vitals
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.kube.events import EventRecorder
from pgbouncer_operator.kube.lease import KubeLeaseStore
from pgbouncer_operator.kube.resources import ENDPOINT_SLICES, POSTGRES_SERVERS, Resource
from pgbouncer_operator.kube.transport import RequestOptions
from pgbouncer_operator.metrics import Metrics
from pgbouncer_operator.reconcile.cache import endpoints, workload_store
from pgbouncer_operator.reconcile.cache.cluster import WATCHED, ClusterCache, View, project, selector
from pgbouncer_operator.reconcile.cache.keys import COALESCE, AnyKey, ServerKey, delay
from pgbouncer_operator.reconcile.cache.server_store import ServerStore
from pgbouncer_operator.reconcile.dispatch import Dispatcher
from pgbouncer_operator.reconcile.intervals import NORMAL, Intervals
from pgbouncer_operator.reconcile.ownership import Ownership
from pgbouncer_operator.reconcile.pool.agents import Agents
from pgbouncer_operator.reconcile.pool.apply import Applier
from pgbouncer_operator.reconcile.pool.observe import Observer
from pgbouncer_operator.reconcile.pool.reconcile import Reconciler
from pgbouncer_operator.reconcile.server.limits_poller import Ask, LimitsPoller
from pgbouncer_operator.reconcile.server.reconcile import ServerReconciler
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.settings import Settings

logger = logging.getLogger(__name__)

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
EVENTS_RATE = 5.0  # events a second
EVENTS_BURST = 100  # events
EVENTS_QUIET = 300.0  # seconds in which an event is not repeated


def run(settings: Settings, kubeconfig: Path | None) -> int:
    """Run the operator until SIGTERM or SIGINT. Returns the exit code: 0, or 1 if the lease was lost.

    kubeconfig: path of a kubeconfig; None inside a cluster.
    """
    log.configure(settings.log_level, settings.log_format)
    logger.info("Starting", extra={"version": __version__, "identity": settings.identity})
    try:
        asyncio.run(Operator(settings, kubeconfig).run())
    except LeaseLost as error:
        logger.error("Lost the lease; the process ends, so that it writes nothing more", extra={"error": str(error)})
        return 1
    return 0


@dataclass(slots=True)
class Operator:
    """The operator's parts that outlive a lease. kubeconfig: None inside a cluster. ask: asks PostgreSQL its limits."""

    settings: Settings
    kubeconfig: Path | None
    intervals: Intervals = NORMAL
    ask: Ask = postgres.limits
    metrics: Metrics = field(default_factory=Metrics)
    cluster: ClusterCache = field(init=False)
    queue: WorkQueue[AnyKey] = field(default_factory=WorkQueue)
    _relist: asyncio.Event = field(default_factory=asyncio.Event)
    _renewals: int = 0

    def __post_init__(self) -> None:
        chosen = {endpoints.spelled(host): server for host, server in self.settings.server_hosts}
        self.cluster = ClusterCache(servers=ServerStore(chosen=chosen, intervals=self.intervals))

    async def run(self) -> None:
        """Serve health and metrics, and work while this process holds the lease, until cancelled. Raises LeaseLost."""
        vitals = Vitals()
        self.metrics.queue_length.set_function(lambda: len(self.queue))
        self.metrics.pools.set_function(lambda: len(self.cluster.pools))
        self.metrics.namespaces_skipped.set_function(lambda: len(self.cluster.skipped))
        self.metrics.statuses = self.cluster.statuses
        self.metrics.servers = self.cluster.servers.statuses
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
        limits = RequestOptions(observe=self.metrics.called, renewed=self._renewed)
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
        """List every kind, then watch and work until cancelled."""
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as closing:
            agents = Agents.open(wake=self._wake)
            closing.push_async_callback(agents.close)
            limits = LimitsPoller(kube, loop.time, self._wake, self.ask, self.intervals)
            closing.push_async_callback(limits.close)
            workers = self._workers(kube, agents, limits)
            vitals.workers = workers
            self.cluster.clients.enabled = self.settings.client_workloads
            await self._sync(kube)
            vitals.synced = True
            watches = Watches(_Inbox(self, loop, project).deliver)
            closing.push_async_callback(watches.stop)
            await watches.follow(self._watch())
            vitals.watching = lambda: watches.alive
            for key in self.cluster.servers.store.keys():  # noqa: SIM118  a Store is no mapping
                self.queue.add(ServerKey(*key), Lane.RESYNC)
            for key in tuple(self.cluster.pools.keys()):
                self.queue.add(key, Lane.RESYNC)
            async with asyncio.TaskGroup() as group:
                group.create_task(workers.run(), name="workers")
                group.create_task(self._resync(kube, watches), name="resync")
                group.create_task(self._follow_clients(_Inbox(self, loop, workload_store.project)), name="clients")

    def _wake(self, key: AnyKey) -> None:
        """Have a pool or a server reconciled soon."""
        self.queue.add_after(key, COALESCE)

    def _workers(self, kube: Kube, agents: Agents, limits: LimitsPoller) -> Workers[AnyKey]:
        loop = asyncio.get_running_loop()
        events = EventRecorder(kube, TokenBucket(EVENTS_RATE, EVENTS_BURST, loop.time), _utc, EVENTS_QUIET)
        chosen = self.settings
        platform = Platform(
            chosen.pool_image,
            chosen.image_pull_policy,
            chosen.endpoint_delay,
            image_pull_secrets=chosen.image_pull_secrets,
        )
        read_secrets = self.settings.connection_secrets
        observer = Observer(kube, agents, self.cluster, loop.time, _stamp, read_secrets, self.intervals)
        pools = Reconciler(observer, Applier(kube, self.cluster, events), platform)
        servers = ServerReconciler(kube, self.cluster, loop.time, _stamp, limits, self.intervals)
        namespace = self.settings.namespace
        ownership = Ownership(kube, self.cluster, namespace, loop.time, events.record, self._wake, self.intervals)
        self.metrics.standing_by.set_function(lambda: ownership.others)
        work = Dispatcher(pools, servers, ownership, self._wake)
        options = WorkerOptions(
            count=self.settings.workers,
            finished=self.metrics.reconciled,
            pause_for=_retry_after,
            expected=(TimeoutError, errors.ApiError),
        )
        return Workers(self.queue, work.reconcile, Backoff(random.random), options)

    def _watch(self) -> Watch:
        # Kopf ends all watches when one is refused, so a kind that may not be watched is left out.
        allowed = {ENDPOINT_SLICES: self.cluster.slices.allowed, POSTGRES_SERVERS: self.cluster.servers.allowed}
        return self._watch_of({resource: selector(resource) for resource in WATCHED if allowed.get(resource, True)})

    def _watch_of(self, selectors: Mapping[Resource, str]) -> Watch:
        namespaces = self.cluster.served(self.settings.namespaces)
        if self.kubeconfig is not None:
            return Watch(selectors, namespaces, login_outside, self._renewals)
        return Watch(selectors, namespaces, lambda _: login_inside(SERVICE_ACCOUNT, os.environ), self._renewals)

    async def _follow_clients(self, inbox: "_Inbox") -> None:
        """Watch the kinds of client workloads that pools name in spec.clients.workloads and that may be watched."""
        watcher: Watcher | None = None
        watched: tuple[Resource, ...] = ()
        try:
            while True:
                await self.cluster.clients.changed.wait()
                self.cluster.clients.changed.clear()
                if self.cluster.clients.watched == watched:
                    continue
                watched = self.cluster.clients.watched
                if watcher is not None:
                    await asyncio.to_thread(watcher.stop, STOP_SECONDS)
                if not watched:
                    watcher = None
                    continue
                watcher = Watcher(self._watch_of(dict.fromkeys(watched, "")), inbox.deliver, random.Random())
                watcher.start()
        finally:
            if watcher is not None:
                await asyncio.to_thread(watcher.stop, STOP_SECONDS)

    async def _sync(self, kube: Kube) -> None:
        """List every kind, and retry without an end: the CRDs may be installed after the operator starts."""
        pauses = Backoff[str](random.random, base=1.0, cap=15.0)
        while True:
            try:
                await self.cluster.sync(kube, self.settings.namespaces)
                return
            except errors.ApiError as error:
                logger.warning("Could not list; trying again", extra={"error": str(error)})
                await asyncio.sleep(pauses.delay("list"))

    async def _next_list(self, kube: Kube) -> None:
        """Wait until a list is due: after `settings.resync`, another CA, or the return of a namespace."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self.settings.resync * random.uniform(0.8, 1.2)
        while not self._relist.is_set() and loop.time() < due:
            left = due - loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, self.intervals.absent) if self.cluster.skipped else left):
                    await self._relist.wait()
            if self.cluster.skipped and await self.cluster.returned(kube):
                return
        self._relist.clear()

    def _renewed(self) -> None:
        """The API server has another CA: the watches have to connect again."""
        self._renewals += 1
        self._relist.set()

    async def _resync(self, kube: Kube, watches: Watches) -> None:
        """List every kind every `settings.resync` seconds, because a watch that was interrupted may miss deletions.

        A list also shows whether a kind may be watched now: its CRD or a right of the operator may have been added.
        """
        while True:
            await self._next_list(kube)
            try:
                touched = await self.cluster.sync(kube, self.settings.namespaces)
            except errors.ApiError as error:
                logger.warning("Could not list; trying again at the next resync", extra={"error": str(error)})
                continue
            await watches.follow(self._watch())
            for key in touched:
                self.queue.add(key, Lane.RESYNC)


@dataclass(frozen=True, slots=True)
class _Inbox:
    """Takes events in a thread of watches and passes them to the event loop that owns the cache and the queue."""

    operator: Operator
    loop: asyncio.AbstractEventLoop
    project: Callable[[Resource, Mapping[str, Any]], View]

    def deliver(self, resource: Resource, body: Mapping[str, Any], gone: bool) -> None:
        """Project an object in the calling thread, which is the costly part, and let the loop store the view."""
        try:
            view = self.project(resource, {"apiVersion": resource.api_version, "kind": resource.kind, **body})
        except (KeyError, TypeError, ValueError) as error:
            logger.error("Could not read an object", extra={"kind": resource.kind, "error": repr(error)})
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process stops
            self.loop.call_soon_threadsafe(self._take, view, gone)

    def _take(self, view: Any, gone: bool) -> None:
        cluster = self.operator.cluster
        if cluster.remove(view) if gone else cluster.put(view):
            for key in cluster.concerned(view):
                self.operator.queue.add_after(key, delay(view))


def _utc() -> datetime:
    return datetime.now(UTC)


def _stamp() -> str:
    return _utc().strftime("%Y-%m-%dT%H:%M:%SZ")


def _retry_after(error: Exception) -> float | None:
    return error.retry_after if isinstance(error, errors.TooManyRequests) else None
