"""Reconciling PostgresServers beside pools, and telling the one when news of the other concern it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import InvalidSpec
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube, Selection
from pgbouncer_operator.kube.resources import POSTGRES_SERVERS
from pgbouncer_operator.pgbouncer.session import OUTLIVES
from pgbouncer_operator.reconcile.cache import views
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache
from pgbouncer_operator.reconcile.cache.keys import Key, ServerKey
from pgbouncer_operator.reconcile.cache.server_store import AUTHORITY_LASTS, REFUSED_LAST
from pgbouncer_operator.reconcile.cache.views import ChildView, PoolView, ServerView
from pgbouncer_operator.reconcile.server import allocate, status
from pgbouncer_operator.reconcile.server.allocate import MemberPool, PoolHolding, PoolNeeds
from pgbouncer_operator.reconcile.server.limits_poller import FAILED_LAST, LimitsPoller
from pgbouncer_operator.reconcile.server.status import ServerReadings
from pgbouncer_operator.reconcile.specification import parsed
from pgbouncer_operator.sizing.limits import ServerLimits

AGAIN = 0.1  # seconds to the next look when somebody else wrote first
MOVING = 5.0  # seconds to the next look while connections move; the pools' news come sooner


@dataclass(frozen=True, slots=True)
class _Demand:
    """What was made of a pool's object and its server, and of which."""

    view: PoolView
    server: PostgresServer
    asked: PoolNeeds | None


@dataclass(frozen=True, slots=True)
class _Supply:
    """What was made of a pool's ledger and pods, and of which."""

    ledger: ChildView | None
    pods: frozenset[str]
    holding: PoolHolding


@dataclass(slots=True)
class ServerReconciler:
    """Shares out one server at a time. Level-triggered; what it remembers is only what it has already read.

    clock: monotonic seconds; today: RFC 3339 in UTC.
    """

    kube: Kube
    world: ClusterCache
    clock: Callable[[], float]
    today: Callable[[], str]
    readings: LimitsPoller
    _demands: dict[Key, _Demand] = field(default_factory=dict)
    _supplies: dict[Key, _Supply] = field(default_factory=dict)
    _lost: dict[Key, tuple[int, float]] = field(default_factory=dict)  # how many pods, and since when by our clock
    _down: set[Key] = field(default_factory=set)
    _told: dict[Key, str | None] = field(default_factory=dict)  # the CA that a server's pools were woken for

    async def reconcile(self, key: ServerKey) -> tuple[float | None, set[Key]]:
        """Seconds until the next look, and the pools to look at. ApiError: not known how far we came."""
        view = self.world.servers.store.get(key.plain)
        if view is None or view.deleting:
            self.readings.forget(key.plain)
            self._told.pop(key.plain, None)
            return None, set()
        server = self.world.servers.server(view)
        shared, heard, again = view.allocations, ServerReadings(), AUTHORITY_LASTS
        if not isinstance(server, InvalidSpec):
            problem = await self.world.servers.know_authority(self.kube, server, self.clock()) or ""
            heard = ServerReadings(problem, self.readings.latest(server, self._authority(view)))
            server = self._heard(view, server, heard)
            members = await self._members(view, server)
            again = _again(heard, members)
            view = self.world.servers.store.get(key.plain) or view  # after awaiting: the newest
            view = replace(view, limits=_limits(view, heard))
            shared = allocate.shared_out(view, server, members, self._emptied(view))
        news = {name for name, each in shared.entries.items() if view.allocations.entries.get(name) != each}
        body = status.patch(view, status.server_status(view, server, shared, heard, self.today()))
        if body is not None:
            try:
                answer = await self.kube.merge_patch(POSTGRES_SERVERS, body, subresource="status")
            except errors.Conflict:
                return await self._reread(view)
            except errors.NotFound:
                return None, set()
            self.world.put(views.server(answer))
        pools = {_key(name) for name in news}
        authority = self._authority(view)
        if authority != self._told.get(key.plain):  # a look whose write failed has told nobody
            self._told[key.plain] = authority
            pools |= {(each.namespace, each.name) for each in self.world.members(key.plain)}
        moving = any(each.high > each.connections or _key(each.pool) in self._lost for each in shared.entries.values())
        return min(again, MOVING) if moving else again, pools

    async def _reread(self, view: ServerView) -> tuple[float | None, set[Key]]:
        """After somebody else wrote first: the watch may not bring it. Conflict: it is as we know it."""
        key = (view.namespace, view.name)
        listing = await self.kube.list(POSTGRES_SERVERS, Selection(view.namespace))  # we have no right to get one
        found = (views.server(body) for body in listing.items if body["metadata"]["name"] == view.name)
        newest = next(found, None)
        if newest is None:
            return None, set()
        if (newest.uid, newest.resource_version) == (view.uid, view.resource_version):
            raise errors.Conflict(f"PostgresServer {view.namespace}/{view.name} refuses its status", 409)
        pools = self.world.members(key) if self.world.put(newest) else ()
        return AGAIN, {(each.namespace, each.name) for each in pools}

    def _heard(self, view: ServerView, server: PostgresServer, heard: ServerReadings) -> PostgresServer:
        """The server by its latest word."""
        known = self.world.servers.server(replace(view, limits=_limits(view, heard)))
        return known if isinstance(known, PostgresServer) else server

    def contribution(self, key: Key) -> tuple[set[ServerKey], object]:
        """The servers that a pool concerns, and what of it matters to them."""
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
        found = self.world.servers.found(view)
        server = found.server if found else None
        asked = self._asked(view, server) if isinstance(server, PostgresServer) else None
        return servers, (view.uid, view.server, asked, self._holding(view), self._reaches(key, view, servers), vacant)

    def _reaches(self, key: Key, view: PoolView, servers: set[ServerKey]) -> bool:
        """Whether the pool reaches its server. One that came back may have come back with other limits."""
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
            found = self.world.servers.found(pool)
            if found is not None and found.allowed is not None and not pool.deleting:
                members.append(MemberPool(pool, self._asked(pool, server), self._holding(pool), found.allowed))
        return members

    def _asked(self, view: PoolView, server: PostgresServer) -> PoolNeeds | None:
        key = (view.namespace, view.name)
        known = self._demands.get(key)
        if known is None or known.view is not view or known.server is not server:
            known = self._demands[key] = _Demand(view, server, allocate.asks(parsed(view), view.status, server))
        return known.asked

    def _holding(self, view: PoolView) -> PoolHolding:
        key = (view.namespace, view.name)
        ledger = self.world.children["ConfigMap"].get((view.namespace, naming.grants_config_map(view.name)))
        if ledger is not None and ledger.owner != view.uid:
            ledger = None
        pods = frozenset(pod.uid for pod in self.world.pods.find(key) if not pod.ended)
        known = self._supplies.get(key)
        if known is None or known.ledger is not ledger or known.pods != pods:
            known = self._supplies[key] = _Supply(ledger, pods, allocate.holds(ledger, pods))
        return known.holding

    def _emptied(self, view: ServerView) -> frozenset[str]:
        """Of the pools with an allocation, those that cannot hold anything any more."""
        server = ServerKey(view.namespace, view.name)
        keys = [key for key in map(_key, view.allocations.entries) if not self._remembered(key)]
        return frozenset("/".join(key) for key in keys if self._vacant(key, server))

    def _remembered(self, key: Key) -> bool:
        """Whether a pod may have left sessions behind: of a pool that is deleted no ledger tells of them."""
        pods = self.world.lost.get(key, 0)
        if self._lost.get(key, (0, 0.0))[0] != pods:
            self._lost[key] = (pods, self.clock())
        if pods and self.clock() - self._lost[key][1] <= OUTLIVES:
            return True
        self.world.lost.pop(key, None)
        self._lost.pop(key, None)
        return False

    def _vacant(self, key: Key, server: ServerKey) -> bool:
        """Whether no pod is left that could hold anything at that server.

        A Deployment may make pods again, but those of a pool that refers elsewhere will not come back.
        """
        if self.world.pods.find(key):
            return False
        deployment = self.world.children["Deployment"].get((key[0], naming.deployment(key[1])))
        if deployment is None:
            return True
        view, known = self.world.pools.get(key), deployment.rollout
        elsewhere = view is not None and view.server != server.plain
        return elsewhere and known is not None and known.observed and not (known.replicas or known.existing)

    def _authority(self, view: ServerView) -> str | None:
        return self.world.servers.authority((view.namespace, view.name))


def _again(heard: ServerReadings, members: list[MemberPool]) -> float:
    """Seconds to the next look at a server that nothing happens to."""
    if heard.problem or not all(each.welcome for each in members):
        return REFUSED_LAST
    return FAILED_LAST if heard.reading and heard.reading.limits is None else AUTHORITY_LASTS


def _limits(view: ServerView, heard: ServerReadings) -> ServerLimits | None:
    return heard.reading.limits if heard.reading and heard.reading.limits else view.limits


def _key(name: str) -> Key:
    namespace, _, pool = name.partition("/")
    return namespace, pool
