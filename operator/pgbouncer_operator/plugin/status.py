"""`kubectl pgbouncer status`: the figures of pools in a line each, and below them what is not as it should be. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgbouncer_operator.api.conditions import ConditionType
from pgbouncer_operator.api.status import ratio
from pgbouncer_operator.plugin.fields import at, condition
from pgbouncer_operator.plugin.findings import Finding, faults, of_object

COLUMNS = ("NAME", "READY", "REASON", "PODS", "CONNECTIONS", "SIZE", "CLIENTS", "WAITING")


@dataclass(frozen=True, slots=True)
class PoolLine:
    """A pool in the table. None means unknown."""

    namespace: str
    """The pool's namespace."""
    name: str
    """The pool's name."""
    ready: str | None
    """True, False or Unknown."""
    reason: str | None
    """The reason of Ready."""
    pods: str | None
    """Pods ready and pods running, such as 2/2."""
    connections: str | None
    """Server connections that are open and that are allowed, such as 7/25."""
    size: str | None
    """Connections that the pool may hold, and its maximum, such as 20/25."""
    clients: int | None
    """Clients that are connected."""
    waiting: int | None
    """Clients that wait for a server connection."""
    fault: Finding | None
    """The first condition that is not as it should be."""
    notes: tuple[Finding, ...]
    """Advice, and what is under way."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The fault, if there is one, and the notes."""
        return (self.fault, *self.notes) if self.fault else self.notes

    @property
    def cells(self) -> tuple[str, ...]:
        """The line's cells, in the order of COLUMNS."""
        values = (self.ready, self.reason, self.pods, self.connections, self.size, self.clients, self.waiting)
        return (self.name, *("-" if value is None else str(value) for value in values))


def line(body: Mapping[str, Any]) -> PoolLine:
    """The line of a ConnectionPool."""
    metadata, ready, ill = body["metadata"], condition(body, ConditionType.READY), faults(body)
    connections = at(body, "status", "serverConnections") or {}
    return PoolLine(
        namespace=metadata["namespace"],
        name=metadata["name"],
        ready=ready.get("status"),
        reason=ready.get("reason"),
        pods=at(body, "status", "summary", "pods"),
        connections=at(body, "status", "summary", "connections"),
        size=ratio(connections.get("size"), connections.get("max")),
        clients=at(body, "status", "clients", "connected"),
        waiting=connections.get("waiting"),
        fault=ill[0] if ill else None,
        notes=of_object(body)[len(ill) :],
    )
