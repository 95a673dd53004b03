"""Everything that one reconcile of a pool observes, as frozen values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Self, overload

from pgbouncer_operator import naming
from pgbouncer_operator.api.access import Endpoint
from pgbouncer_operator.api.connection_pool import ConnectionPool, InvalidSpec
from pgbouncer_operator.api.status import PoolStatus
from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.cache.views import ChildView, PodView, PoolView
from pgbouncer_operator.reconcile.cache.workloads import ClientReplicas
from pgbouncer_operator.reconcile.intervals import NORMAL, Intervals
from pgbouncer_operator.reconcile.memory import ChildKey, LostPod, Memory, Missing, Presence
from pgbouncer_operator.reconcile.pause import Pause
from pgbouncer_operator.resources.login import Login
from pgbouncer_operator.sizing.allocation import Entry

EMPTY: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Membership:
    """A pool's place at a PostgresServer."""

    server: str
    """The server as `namespace/name`."""
    entry: Entry | None = None
    """The pool's allocation; None before it has one."""
    authority: str | None = None
    """The server's CA in PEM; None without one or while it cannot be read."""
    obstacle: Missing | None = None
    """Why the pool cannot use the server; None when it can."""
    welcome: bool = True
    """False once the server no longer allows the pool's namespace, or no longer gives its host's connections."""
    gives: bool = True
    """False while another PostgresServer gives the connections of this one's host."""
    leaves_for: str = ""
    """The server's host and port, while it does not know that the pool has left a former one; empty otherwise."""
    reached: str = ""
    """The same once no connection of the pool can be elsewhere."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The users' Secrets as just read."""

    by_user: Mapping[str, Login | Missing]
    """By handle, the login or what is missing."""
    version: str
    """Names this content."""
    authorities: Mapping[Endpoint, str] = field(default_factory=dict)
    """By endpoint, the PEM with which clients verify its certificate, where it could be read."""


@dataclass(frozen=True, slots=True)
class WrittenSecret:
    """A connection Secret as it is in the cluster."""

    uid: str
    """Its UID."""
    resource_version: str
    """Its version."""
    owner: str
    """UID of the owner that controls it; empty without one."""
    body: Mapping[str, Any] = field(repr=False)
    """The whole object."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The pool's grants as they are in the cluster."""

    grants: Grants
    """The grants."""
    resource_version: int
    """The version that they were read at, for compare-and-swap; 0 before the first write."""
    spoiled: bool = False
    """Whether what is written cannot be read, and `grants` come from the pods' answers instead."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What is observed of a pool and all that belongs to it, whatever its spec says."""

    view: PoolView
    """The pool."""
    status: PoolStatus
    """Its last status."""
    children: Mapping[ChildKey, ChildView]
    """Its objects by kind and name."""
    pods: tuple[PodView, ...]
    """Its pods."""
    states: Mapping[str, AgentState | None]
    """By pod UID, what the agent answered; None without an answer of now: unknown, never absent."""
    ledger: Ledger | None
    """Its grants; None before the first ledger."""
    credentials: Credentials | None
    """The users' Secrets; None when they were not read this time."""
    secrets: Mapping[str, WrittenSecret | None] | None
    """Its connection Secrets by name, None for one that does not exist; None when they were not read this time."""
    memory: Memory
    """What was remembered from earlier reconciles."""
    now: float
    """Monotonic seconds."""
    today: str
    """The same instant, RFC 3339."""
    endpoints: tuple[str, ...] | None = None
    """Ready addresses of the Service that is the backend; None while unknown."""
    pause: Pause | None = None
    """The pause that the spec asks for; None without one."""
    clients: ClientReplicas | None = None
    """Replicas of the client workloads; None while unknown, or when the spec names none."""
    membership: Membership | None = None
    """Its place at its PostgresServer; None without one."""
    former: Entry | None = None
    """The pool's allocation at the PostgresServer that the ledger names, when the spec names another server; else None.
    """
    ended: frozenset[str] = frozenset()
    """UIDs of pods, of the ledger or of this observation, whose objects have disappeared after they ended."""
    lost: Mapping[str, LostPod] = field(default_factory=dict)
    """By UID, pods of the ledger that are neither observed nor known to have ended."""
    unlabelled_states: Mapping[str, AgentState | None] = field(default_factory=dict)
    """By UID, the pods of `lost` that run without the pool's label, with what the agent answered as in `states`."""
    hanging: Mapping[str, int] = field(default_factory=dict)
    """By pod UID, for more than how many seconds PgBouncer has not answered its agent, where the agent answers."""
    intervals: Intervals = NORMAL
    """How long to wait before something is done."""
    turn: bool = True
    """Whether few enough pools replace old pods for this one to do so, where its user asks for it."""

    @property
    def unix(self) -> int:
        """Unix seconds."""
        return int(datetime.fromisoformat(self.today).timestamp())

    @property
    def living(self) -> tuple[PodView, ...]:
        """Pods that are meant to serve: neither terminating nor finished."""
        return tuple(pod for pod in self.pods if not pod.terminating and not pod.finished)

    @property
    def leaving(self) -> tuple[PodView, ...]:
        """Pods that drain, or that may still run although their phase is Failed."""
        return tuple(pod for pod in self.pods if (pod.terminating or pod.finished) and not pod.ended)

    @property
    def charged_lost(self) -> frozenset[str]:
        """UIDs of the ledger's pods whose sessions may not be over, as far as this process has observed for itself.

        The time in a tombstone comes from the clock of whoever wrote it, which may be wrong.
        """
        uids = self.ledger.grants.pods if self.ledger else ()
        over = {uid for uid, each in self.lost.items() if each.left(self.now, self.intervals.sessions) <= 0}
        return frozenset(uids) - {pod.uid for pod in self.pods} - over

    @property
    def unlabelled(self) -> tuple[tuple[str, LostPod], ...]:
        """UID and answer of the lost pods that are not known to be gone, by name."""
        found = (item for item in self.lost.items() if item[1].presence in {Presence.EXISTS, Presence.UNKNOWN})
        return tuple(sorted(found, key=lambda item: item[1].name))

    @property
    def missing(self) -> Missing | None:
        """What the Secret that names the server, or the users' Secrets, lacked when they were last read."""
        server, reading = self.memory.server, self.memory.reading
        return (server.missing if server else None) or (reading.missing if reading else None)

    @property
    def obstacle(self) -> Missing | None:
        """What keeps a spec without faults from being used: its PostgresServer, or the Secret that names its server."""
        member, server = self.membership, self.memory.server
        return (member.obstacle if member else None) or (server.missing if server else None)

    @property
    def connection_secrets(self) -> tuple[str, ...]:
        """Names of the pool's connection Secrets, sorted: those in the status, and those that are not in it yet."""
        return tuple(sorted({*self.memory.connection_secrets, *(self.status.connection_secrets or ())}))

    def child(self, body: Mapping[str, Any]) -> ChildView | None:
        """The live object with a desired object's kind and name."""
        return self.children.get((body["kind"], body["metadata"]["name"]))

    @property
    def config_map_data(self) -> Mapping[str, Any]:
        """The data of the pool's ConfigMap; empty without one."""
        child = self.children.get(("ConfigMap", naming.config_map(self.view.name)))
        return child.data if child else {}

    @property
    def written_intent(self) -> str:
        """The text of the intent in the pool's ConfigMap; empty without one."""
        text = self.config_map_data.get(naming.INTENT_KEY, "")
        return text if isinstance(text, str) else ""

    @property
    def fingerprint(self) -> tuple[object, ...] | None:
        """What two observations have in common when only time has passed between them; None after a read of Secrets.

        It refers to values that the stores keep anyway: thousands of pools at rest must not cost memory.
        """
        if self.credentials is not None:
            return None
        return (
            self.view,
            self.view.status,
            self.pods,
            self.states,
            self.hanging,
            self.children,
            self.endpoints,
            self.pause and self.pause.fingerprint,
            self.clients,
            self.membership,
            self.former,
            self.turn,
            self.memory.server and self.memory.server.content,
            self.memory.demand and self.memory.demand.fingerprint,
        )

    def owes(self, uid: str) -> bool:
        """Whether the pod still has the former content of a changed Secret mounted."""
        state, reading = self.states.get(uid), self.memory.reading
        if state is None or reading is None:
            return False
        return any(reading.owed.get((uid, handle)) == each.generation for handle, each in state.users.items())

    def remember(self, **changes: Any) -> Self:
        """The same observation with a changed memory."""
        return replace(self, memory=replace(self.memory, **changes))


@dataclass(frozen=True, slots=True)
class Observed(Observation):
    """An observation of a pool whose spec can be used."""

    spec: ConnectionPool = field(kw_only=True)
    """The pool, with what its PostgresServer adds to it."""

    def clients_max(self, pod: PodView) -> int:
        """The most clients that the pod accepts: what its agent says is in force, or else what the spec says."""
        state = self.states.get(pod.uid)
        return (state.clients_max if state else None) or self.spec.spec.clients.max_per_pod


@dataclass(frozen=True, slots=True)
class ObservedInvalid(Observation):
    """An observation of a pool whose spec cannot be used: it has faults, or its PostgresServer does not let the pool
    in.
    """

    fault: InvalidSpec = field(kw_only=True)
    """Every fault, with its field and a remedy."""


@overload
def with_spec(observation: Observation, spec: ConnectionPool) -> Observed: ...
@overload
def with_spec(observation: Observation, spec: InvalidSpec) -> ObservedInvalid: ...
def with_spec(observation: Observation, spec: ConnectionPool | InvalidSpec) -> Observed | ObservedInvalid:
    """The same observation of a pool that has this spec, or this fault."""
    common: dict[str, Any] = {each.name: getattr(observation, each.name) for each in fields(Observation)}
    if isinstance(spec, InvalidSpec):
        return ObservedInvalid(**common, fault=spec)
    return Observed(**common, spec=spec)
