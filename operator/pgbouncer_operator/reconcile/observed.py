"""Everything one reconcile looks at, as frozen values; and what it remembers until the next. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Self, overload

from pgbouncer_operator.api.access import Endpoint
from pgbouncer_operator.api.connection_pool import ConnectionPool, InvalidSpec
from pgbouncer_operator.api.status import PoolStatus
from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.cache.views import ChildView, PodView, PoolView
from pgbouncer_operator.reconcile.cache.workloads import ClientReplicas
from pgbouncer_operator.reconcile.memory import ChildKey, Memory, Missing
from pgbouncer_operator.reconcile.pause import Pause
from pgbouncer_operator.resources.login import Login
from pgbouncer_operator.sizing.allocation import Entry

EMPTY: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Membership:
    """A pool's place at a PostgresServer. server: namespace/name. entry: what it may hold, None before it may anything.

    authority: the server's CA in PEM, None while it cannot be read. obstacle: why the pool cannot use the server.
    welcome: False once the pool's namespace is not allowed any more.
    """

    server: str
    entry: Entry | None = None
    authority: str | None = None
    obstacle: Missing | None = None
    welcome: bool = True


@dataclass(frozen=True, slots=True)
class Credentials:
    """The users' Secrets as just read. by_user: login, or what is missing, by handle. version: names this content.

    authorities: what clients of an endpoint verify its certificate with, in PEM, where that could be read.
    """

    by_user: Mapping[str, Login | Missing]
    version: str
    authorities: Mapping[Endpoint, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WrittenSecret:
    """A connection Secret as it is in the cluster."""

    uid: str
    resource_version: str
    owner: str
    body: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The pool's grants and the version they were read at, for compare-and-swap. version 0: not written yet.

    spoiled: what is written cannot be read, and these grants are what the pods say.
    """

    grants: Grants
    resource_version: int
    spoiled: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a pool and all that belongs to it, whatever its spec says.

    credentials and secrets: None when not read this time.
    states: by pod uid, None where the agent did not answer: unknown, never absent. now: monotonic; today: RFC 3339.
    endpoints: ready addresses of the Service that is the backend, None while unknown. pause: asked for by the spec.
    clients: replicas of the client workloads, None while unknown or when the spec names none.
    membership: what its PostgresServer says, None where it has none. former: the entry at the PostgresServer that its
    ledger names, where the spec names another server. ended: pods of the ledger, or of this very look, whose objects
    have gone after the pods had.
    """

    view: PoolView
    status: PoolStatus
    children: Mapping[ChildKey, ChildView]
    pods: tuple[PodView, ...]
    states: Mapping[str, AgentState | None]
    ledger: Ledger | None
    credentials: Credentials | None
    secrets: Mapping[str, WrittenSecret | None] | None
    memory: Memory
    now: float
    today: str
    endpoints: tuple[str, ...] | None = None
    pause: Pause | None = None
    clients: ClientReplicas | None = None
    membership: Membership | None = None
    former: Entry | None = None
    ended: frozenset[str] = frozenset()

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
        """Pods that still drain, or may still run although they are said to have failed."""
        return tuple(pod for pod in self.pods if (pod.terminating or pod.finished) and not pod.ended)

    @property
    def missing(self) -> Missing | None:
        """What the users' Secrets lacked when they were last read."""
        return self.memory.reading.missing if self.memory.reading else None

    @property
    def made(self) -> tuple[str, ...]:
        """Names of the connection Secrets that we made."""
        return self.status.connection_secrets or self.memory.made

    def child(self, body: Mapping[str, Any]) -> ChildView | None:
        """The live object of a desired one's kind and name."""
        return self.children.get((body["kind"], body["metadata"]["name"]))

    @property
    def fingerprint(self) -> tuple[object, ...] | None:
        """What two looks have in common when nothing but time has passed between them; None after a read of Secrets.

        It refers to values that the stores keep anyway: thousands of pools at rest must not cost memory.
        """
        if self.credentials is not None:
            return None
        return (
            self.view,
            self.view.status,
            self.pods,
            self.states,
            self.children,
            self.endpoints,
            self.pause and self.pause.fingerprint,
            self.clients,
            self.membership,
            self.former,
            self.memory.demand and self.memory.demand.fingerprint,
        )

    def owes(self, uid: str) -> bool:
        """Whether that pod still has the content of a Secret mounted that is known to have changed."""
        state, reading = self.states.get(uid), self.memory.reading
        if state is None or reading is None:
            return False
        return any(reading.owed.get((uid, handle)) == each.generation for handle, each in state.users.items())

    def remember(self, **changes: Any) -> Self:
        """The same look with a changed memory."""
        return replace(self, memory=replace(self.memory, **changes))


@dataclass(frozen=True, slots=True)
class Observed(Observation):
    """A look at a pool whose spec can be used."""

    spec: ConnectionPool = field(kw_only=True)
    """The pool, with what its PostgresServer adds to it."""


@dataclass(frozen=True, slots=True)
class ObservedInvalid(Observation):
    """A look at a pool whose spec cannot be used: it has faults, or its PostgresServer does not let the pool in."""

    fault: InvalidSpec = field(kw_only=True)
    """Every fault, with its field and a remedy."""


@overload
def with_spec(observation: Observation, spec: ConnectionPool) -> Observed: ...
@overload
def with_spec(observation: Observation, spec: InvalidSpec) -> ObservedInvalid: ...
def with_spec(observation: Observation, spec: ConnectionPool | InvalidSpec) -> Observed | ObservedInvalid:
    """The same look at a pool that has this spec, or this fault."""
    common: dict[str, Any] = {each.name: getattr(observation, each.name) for each in fields(Observation)}
    if isinstance(spec, InvalidSpec):
        return ObservedInvalid(**common, fault=spec)
    return Observed(**common, spec=spec)
