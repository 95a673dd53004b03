"""Reconciles PostgresServers, and says which servers a change of a pool concerns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import InvalidSpec
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube, Selection
from pgbouncer_operator.kube.resources import POSTGRES_SERVERS
from pgbouncer_operator.reconcile.cache import projections
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache
from pgbouncer_operator.reconcile.cache.keys import Key, ServerKey, key_of
from pgbouncer_operator.reconcile.cache.views import ChildView, PoolView, ServerView
from pgbouncer_operator.reconcile.intervals import NORMAL, Intervals
from pgbouncer_operator.reconcile.lost_pods import LostPods
from pgbouncer_operator.reconcile.memory import LostPod
from pgbouncer_operator.reconcile.server import allocate, status
from pgbouncer_operator.reconcile.server.allocate import MemberPool, PoolHolding, PoolNeeds, Remains
from pgbouncer_operator.reconcile.server.limits_poller import LimitsPoller
from pgbouncer_operator.reconcile.server.same_host import SameHost
from pgbouncer_operator.reconcile.server.status import ServerReadings
from pgbouncer_operator.reconcile.specification import parsed
from pgbouncer_operator.sizing.allocation import Allocations
from pgbouncer_operator.sizing.limits import ServerLimits

AGAIN = 0.1  # seconds until the next look after a conflict
MOVING = 5.0  # seconds until the next look while connections move; changes of the pools come sooner


@dataclass(frozen=True, slots=True)
class _Demand:
    """What a pool needs, and what that was computed from."""

    view: PoolView
    """The pool."""
    server: PostgresServer
    """The server."""
    asked: PoolNeeds | None
    """What the pool needs."""


@dataclass(frozen=True, slots=True)
class _Supply:
    """What a pool holds, and what that was computed from."""

    ledger: ChildView | None
    """The pool's ledger."""
    pods: frozenset[str]
    """UIDs of its pods."""
    holding: PoolHolding
    """What the pool holds."""


@dataclass(slots=True)
class ServerReconciler:
    """Divides the budget of one server at a time. Level-triggered: it remembers only what can be read or computed
    again.
    """

    kube: Kube
    """Writes the status, and reads what the watches do not bring."""
    world: ClusterCache
    """The stores."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    today: Callable[[], str]
    """The present time, RFC 3339 in UTC."""
    readings: LimitsPoller
    """The limits that PostgreSQL servers answer."""
    intervals: Intervals = NORMAL
    """How long what was read counts."""
    _demands: dict[Key, _Demand] = field(default_factory=dict)
    """What pools need, by pool."""
    _supplies: dict[Key, _Supply] = field(default_factory=dict)
    """What pools hold, by pool."""
    _lost: dict[Key, Mapping[str, LostPod]] = field(default_factory=dict)
    """By pool without other pods, by UID, the pods that disappeared while they may still have run."""
    _lost_pods: LostPods = field(default_factory=LostPods)
    """Asks for them."""
    _down: set[Key] = field(default_factory=set)
    """Pools that do not reach their server."""
    _decided: dict[Key, tuple[str, Allocations]] = field(default_factory=dict)
    """By server, its UID and the allocations that were written last."""
    _writing: dict[Key, Allocations] = field(default_factory=dict)
    """By server, the allocations whose write has no answer yet."""
    _told: dict[Key, str | None] = field(default_factory=dict)
    """By server, the CA that its pools were reconciled for."""

    async def reconcile(self, key: ServerKey) -> tuple[float | None, set[Key]]:
        """Seconds until the next look, and the pools to reconcile. Raises ApiError: what was done is then unknown."""
        view = self.world.servers.store.get(key.plain)
        if view is None or view.deleting:
            self.readings.forget(key.plain)
            self._told.pop(key.plain, None)
            self._decided.pop(key.plain, None)
            self._writing.pop(key.plain, None)
            return None, set()
        server = self.world.servers.server(view)
        shared, heard, again = self._latest(view), ServerReadings(), self.intervals.authority
        if not isinstance(server, InvalidSpec):
            problem = await self.world.servers.know_authority(self.kube, server, self.clock()) or ""
            reading = self.readings.latest(server, self._authority(view))
            heard = ServerReadings(problem, reading, self.world.servers.standing(view))
            server = self._heard(view, server, heard)
            view, shared, again = await self._share_out(view, server, heard)
        news = {name for name, each in shared.entries.items() if view.allocations.entries.get(name) != each}
        body = status.patch(view, status.server_status(view, server, shared, heard, self.today()))
        if body is not None:
            self._writing[key.plain] = shared
            try:
                answer = await self.kube.merge_patch(POSTGRES_SERVERS, body, subresource="status")
            except errors.Conflict:
                self._writing.pop(key.plain, None)
                return await self._reread(view)
            except errors.NotFound:
                self._writing.pop(key.plain, None)
                return None, set()
            self.world.put(projections.server(answer))
            self._writing.pop(key.plain, None)
        self._decided[key.plain] = (view.uid, shared)
        pools = {key_of(name) for name in news}
        authority = self._authority(view)
        if authority != self._told.get(key.plain):  # not after a failed write: then no pool was woken
            self._told[key.plain] = authority
            pools |= {(each.namespace, each.name) for each in self.world.members(key.plain)}
        entries = shared.entries.values()
        moving = any(each.high > each.connections or key_of(each.pool) in self._lost for each in entries)
        return min(again, MOVING) if moving else again, pools

    async def _share_out(
        self, view: ServerView, server: PostgresServer, heard: ServerReadings
    ) -> tuple[ServerView, Allocations, float]:
        """The newest view, the next round, and the seconds until the next look at a server at rest."""
        await self._ask_for_lost(view)
        same_host = SameHost(self.world, self._holding, self._floor, self._possible)
        strays = same_host.strays(view)
        for namespace in sorted(same_host.namespaces(view, strays)):
            await self.world.servers.know_namespace(self.kube, server, namespace, self.clock())
        members = await self._members(view, server)
        # Nothing waits from here to the write: another server could take the host over meanwhile.
        again = self._again(heard, members)
        newest = self.world.servers.store.get((view.namespace, view.name)) or view
        # What was heard is of the former host, if that has changed: the write then conflicts, and all is read again.
        view = newest if newest.address == view.address else view
        view = replace(view, limits=_limits(view, heard), allocations=self._latest(view))
        elsewhere = same_host.charged(view, server, strays)
        gives = self.world.servers.standing(view).gives
        shared = allocate.shared_out(view, server, members, Remains(self._emptied(view), elsewhere), gives)
        return view, shared, min(again, MOVING) if elsewhere else again

    async def _reread(self, view: ServerView) -> tuple[float | None, set[Key]]:
        """Read the server after a conflict, because the watch may not bring the new version.

        Raises Conflict when it has not changed.
        """
        key = (view.namespace, view.name)
        # The operator may list servers, and has no right to get one.
        listing = await self.kube.list(POSTGRES_SERVERS, Selection(view.namespace))
        named = (projections.server(body) for body in listing.items if body["metadata"]["name"] == view.name)
        newest = next(named, None)
        if newest is None:
            return None, set()
        if (newest.uid, newest.resource_version) == (view.uid, view.resource_version):
            raise errors.Conflict(f"PostgresServer {view.namespace}/{view.name} refuses its status", 409)
        pools = self.world.members(key) if self.world.put(newest) else ()
        return AGAIN, {(each.namespace, each.name) for each in pools}

    def _possible(self, view: ServerView) -> list[Allocations]:
        writing = self._writing.get((view.namespace, view.name))
        return [self._latest(view), *([writing] if writing else [])]

    def _floor(self, pool: PoolView, server: PostgresServer) -> int:
        asked = self._asked(pool, server)
        return asked.floor if asked else server.spec.connections.budget or 0

    def _latest(self, view: ServerView) -> Allocations:
        """The allocations in force: those of the status, unless it was removed or an older one was restored."""
        uid, decided = self._decided.get((view.namespace, view.name), ("", view.allocations))
        return decided if uid == view.uid and decided.seq > view.allocations.seq else view.allocations

    def _heard(self, view: ServerView, server: PostgresServer, heard: ServerReadings) -> PostgresServer:
        """The server with its newest limits."""
        newest = self.world.servers.server(replace(view, limits=_limits(view, heard)))
        return newest if isinstance(newest, PostgresServer) else server

    def contribution(self, key: Key) -> tuple[set[ServerKey], object]:
        """The servers that a pool concerns, and the part of the pool that matters to them."""
        servers = self.world.servers.of_pool(key)
        view = self.world.pools.get(key)
        if view is not None and view.server:
            servers.add(ServerKey(*view.server))
        if view is None or not servers:
            self._demands.pop(key, None)
            self._supplies.pop(key, None)
            self._down.discard(key)
        vacant = tuple(self._vacant(key, each) for each in sorted(servers))
        if view is None or not servers:
            return servers, vacant
        named = self.world.servers.of(view)
        server = named.server if named else None
        asked = self._asked(view, server) if isinstance(server, PostgresServer) else None
        return servers, (view.uid, view.server, asked, self._holding(view), self._reaches(key, view, servers), vacant)

    def _reaches(self, key: Key, view: PoolView, servers: set[ServerKey]) -> bool:
        """Whether the pool reaches its server. A server that is reachable again is asked for its limits."""
        reaches = allocate.reaches(view.status)
        if reaches and key in self._down:
            for each in servers:
                self.readings.again(each)
        (self._down.discard if reaches else self._down.add)(key)
        return reaches

    async def _members(self, view: ServerView, server: PostgresServer) -> list[MemberPool]:
        pools = self.world.members((view.namespace, view.name))
        for namespace in sorted({each.namespace for each in pools}):
            await self.world.servers.know_namespace(self.kube, server, namespace, self.clock())
        members = []
        for pool in pools:
            named = self.world.servers.of(pool)
            if named is not None and named.allowed is not None and not pool.deleting:
                welcome = named.allowed and named.gives
                members.append(MemberPool(pool, self._asked(pool, server), self._holding(pool), welcome))
        return members

    def _asked(self, view: PoolView, server: PostgresServer) -> PoolNeeds | None:
        key = (view.namespace, view.name)
        demand = self._demands.get(key)
        if demand is None or demand.view is not view or demand.server is not server:
            demand = self._demands[key] = _Demand(view, server, allocate.asks(parsed(view), view.status, server))
        return demand.asked

    def _holding(self, view: PoolView) -> PoolHolding:
        key = (view.namespace, view.name)
        ledger = self.world.children["ConfigMap"].get((view.namespace, naming.grants_config_map(view.name)))
        if ledger is not None and ledger.owner != view.uid:
            ledger = None
        pods = frozenset(pod.uid for pod in self.world.pods.find(key) if not pod.ended)
        supply = self._supplies.get(key)
        if supply is None or supply.ledger is not ledger or supply.pods != pods:
            supply = self._supplies[key] = _Supply(ledger, pods, allocate.holds(ledger, pods))
        return supply.holding

    def _emptied(self, view: ServerView) -> frozenset[str]:
        """The pools with an allocation that can hold no connection any more, as `namespace/name`."""
        server = ServerKey(view.namespace, view.name)
        keys = [key for key in map(key_of, view.allocations.entries) if self._vacant(key, server)]
        return frozenset("/".join(key) for key in keys if not self._remembered(key))

    async def _ask_for_lost(self, view: ServerView) -> None:
        """Ask for lost pods of pools that have no other pod. The ledger of a deleted pool no longer charges them."""
        server = ServerKey(view.namespace, view.name)
        for key in map(key_of, view.allocations.entries):
            names = self.world.lost.get(key)
            if names and self._vacant(key, server):
                self._lost[key] = await self._lost_pods.ask(self.kube, key, names, self.clock())

    def _remembered(self, key: Key) -> bool:
        """Whether a lost pod of the pool may still exist, or may have left sessions behind."""
        now, sessions, answers = self.clock(), self.intervals.sessions, self._lost.get(key, {})
        names = self.world.lost.get(key, {})
        if not all(uid in answers and answers[uid].left(now, sessions) <= 0 for uid in names):
            return True
        self.world.lost.pop(key, None)
        self._lost.pop(key, None)
        return False

    def _vacant(self, key: Key, server: ServerKey) -> bool:
        """Whether no pod is left that could hold a connection at that server.

        A Deployment may make pods again, but not at this server once its pool refers to another one.
        """
        if self.world.pods.find(key):
            return False
        deployment = self.world.children["Deployment"].get((key[0], naming.deployment(key[1])))
        if deployment is None:
            return True
        view, progress = self.world.pools.get(key), deployment.rollout
        elsewhere = view is not None and view.server != server.plain
        return elsewhere and progress is not None and progress.observed and not (progress.replicas or progress.existing)

    def _again(self, heard: ServerReadings, members: list[MemberPool]) -> float:
        """Seconds until the next look at a server at rest."""
        if heard.problem or not all(each.welcome for each in members):
            return self.intervals.refused
        failed = heard.reading is not None and heard.reading.limits is None
        return self.intervals.failed_limits if failed else self.intervals.authority

    def _authority(self, view: ServerView) -> str | None:
        return self.world.servers.authority((view.namespace, view.name))


def _limits(view: ServerView, heard: ServerReadings) -> ServerLimits | None:
    return heard.reading.limits if heard.reading and heard.reading.limits else view.limits
