"""`spec.serverConnections`, `spec.timeouts` and `spec.drain`."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pgbouncer_operator.api.access import ConnectionCount
from pgbouncer_operator.api.model import Model, Rule
from pgbouncer_operator.api.strings import Integer

Seconds = Annotated[Integer, Field(ge=0, le=31_536_000)]  # up to a year
UpToADay = Annotated[Integer, Field(ge=0, le=86_400)]
AtLeastASecond = Annotated[Integer, Field(ge=1, le=86_400)]


class SizingMode(StrEnum):
    """What decides how many server connections a pool may hold."""

    FIXED = "Fixed"
    WORKLOADS = "Workloads"
    DEMAND = "Demand"


class Sizing(Model):
    """How many of serverConnections.max the pool may hold at a time."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel='!has(self.mode) || self.mode != "Workloads" || has(self.perClientReplica)',
            broken=lambda sizing: (
                "" if sizing.mode is SizingMode.WORKLOADS and sizing.per_client_replica is None else None
            ),
            message="mode Workloads needs perClientReplica: set it to what one pod of your clients uses",
        ),
    )

    mode: SizingMode = SizingMode.FIXED
    """Fixed: max. Workloads: perClientReplica for each replica that spec.clients.workloads should have. Demand: what
    the clients use, as measured. Default: Fixed. A change is reloaded."""
    min: ConnectionCount | None = None
    """Fewest connections that the pool may hold; none is opened in advance. Default: one for each database in each pod.
    A change is reloaded."""
    per_client_replica: ConnectionCount | None = None
    """Connections for one replica of the client workloads. Required in mode Workloads. Default: none. A change is
    reloaded."""


def _min_above_max(connections: "ServerConnections") -> str | None:
    least = connections.sizing.min
    return None if least is None or connections.max is None or least <= connections.max else ""


class ServerConnections(Model):
    """How many connections to the PostgreSQL server the pool may hold."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.sizing.min) || !has(self.max) || self.sizing.min <= self.max",
            broken=_min_above_max,
            message="sizing.min is more than max: lower min or raise max",
            field="sizing",
        ),
    )

    max: ConnectionCount | None = None
    """Most connections to the PostgreSQL server over all pods together, surge and terminating pods included. Required
    without backend.serverRef. Default: the share's max. Split over pods and databases as PgBouncer's
    max_db_connections. A change is reloaded: pods shrink and confirm before others grow."""
    sizing: Sizing = Sizing()
    """How many of max the pool may hold at a time. Default: mode Fixed, all of max. status.recommendation shows the
    recommended number in every mode. A change is reloaded."""

    @property
    def most(self) -> int:
        """The maximum. Raises ValueError if backend.serverRef is not resolved yet."""
        if self.max is None:
            raise ValueError("backend.serverRef is not resolved")
        return self.max


class Timeouts(Model):
    """Timeouts, in whole seconds."""

    query_wait_seconds: UpToADay = 30
    """Seconds a query may wait for a server connection before the client gets an error; 0 means no limit. Default: 30.
    PgBouncer's query_wait_timeout. A change is reloaded."""
    server_idle_seconds: Seconds = 600
    """Seconds after which an unused server connection is closed; 0 means never. Default: 600. PgBouncer's
    server_idle_timeout. A change is reloaded."""
    server_lifetime_seconds: Seconds = 3600
    """Seconds after which a free server connection is renewed; 0 means after one use. Default: 3600.
    PgBouncer's server_lifetime. A change is reloaded."""
    client_idle_seconds: Seconds = 0
    """Seconds after which an idle client is disconnected; 0 means never. Default: 0. PgBouncer's client_idle_timeout. A
    change is reloaded."""
    idle_transaction_seconds: Seconds = 0
    """Seconds a client may idle inside a transaction before it is disconnected; 0 means never. Default: 0.
    PgBouncer's idle_transaction_timeout. A change is reloaded."""
    query_seconds: Seconds = 0
    """Seconds a query may run before it is cancelled and its client disconnected; 0 means never. Default: 0. Prefer
    statement_timeout in PostgreSQL. PgBouncer's query_timeout. A change is reloaded."""
    server_connect_seconds: AtLeastASecond = 15
    """Seconds that connecting and logging in to the PostgreSQL server may take. Default: 15. PgBouncer's
    server_connect_timeout. A change is reloaded."""


class Drain(Model):
    """How a pod leaves without cutting a transaction."""

    timeout_seconds: UpToADay = 120
    """Seconds a leaving pod waits for its clients to disconnect. Default: 120. A change rolls the pods."""
    transaction_seconds: UpToADay = 60
    """Seconds after timeoutSeconds in which running transactions may end; clients are disconnected between two
    transactions. Default: 60. In session mode, sessions are cut at the deadline. A change rolls the pods."""
