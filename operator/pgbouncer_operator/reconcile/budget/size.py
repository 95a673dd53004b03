"""How many server connections a pool may hold now, and what the operator recommends. Pure.

`resources.desired` and the ledger divide this number. The recommendation is computed in every mode; modes Workloads and
Demand follow it.
"""

from dataclasses import dataclass, replace

from pgbouncer_operator.api.status import Recommendation
from pgbouncer_operator.api.tuning import SizingMode
from pgbouncer_operator.reconcile.cache.workloads import ClientReplicas
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.resources.desired import room
from pgbouncer_operator.sizing import demand
from pgbouncer_operator.sizing.demand import Bounds, Decision, SizingReason
from pgbouncer_operator.wording import counted

UNKNOWN = "ClientsUnknown"  # not all client workloads are known: the size does not shrink
UNMEASURED = Decision(0, 0, 0.0, 0.0, SizingReason.ENOUGH)


@dataclass(frozen=True, slots=True)
class PoolSize:
    """How many server connections a pool wants, and how many it may hold."""

    wanted: int
    """What the pool's sizing mode asks for: `status.serverConnections.size`."""
    recommendation: Recommendation
    """What the measured demand or the client workloads ask for; its value is `wanted` in every mode but Fixed."""
    allocation: int | None = None
    """What the pool's PostgresServer gives it; None for a pool that names a host itself."""

    @property
    def size(self) -> int:
        """What the pool may hold now: the lower one of `wanted` and `allocation`."""
        return self.wanted if self.allocation is None else min(self.wanted, self.allocation)


def bounds(observed: Observed) -> Bounds:
    """What limits the size: the need of the wanted pods and one more during a roll, and the pool's maximum.

    Where the wanted pods do not fit, the floor is the maximum: no connection is left to follow demand with.
    """
    pool, clients = observed.spec, observed.clients.desired if observed.clients else 0
    connections, fitting = pool.spec.server_connections, room(pool)
    needed = fitting.floor * (fitting.replicas + fitting.surge)
    if fitting.shortage and fitting.replicas == connections.most // fitting.floor:
        needed = connections.most
    floor = min(connections.most, max(connections.sizing.min or 1, needed))
    return Bounds(floor, connections.most, clients, bool(unseen(observed)))


def standing(observed: Observed, limits: Bounds) -> int:
    """The size in force: the one in status, or else the ceiling. So a restart of the operator shrinks nothing."""
    figures = observed.status.server_connections
    size = figures.size if figures is not None and figures.size is not None else limits.ceiling
    return max(limits.floor, min(limits.ceiling, size))


def unseen(observed: Observed) -> str:
    """Which client workloads are unknown, in words; empty when all are known or the spec names none."""
    if not observed.view.clients:
        return ""
    if observed.clients is None:
        return "the operator cannot list clients.workloads"
    if not observed.clients.found:
        return "none of clients.workloads exists"
    return "not all of clients.workloads exist" if observed.clients.missing else ""


def pool_size(observed: Observed) -> PoolSize:
    """The size now, after `with_measured_demand`."""
    entry = observed.membership.entry if observed.membership else None
    return replace(_sized(observed), allocation=entry.connections if entry else None)


def _sized(observed: Observed) -> PoolSize:
    sizing = observed.spec.spec.server_connections.sizing
    limits = bounds(observed)
    match sizing.mode:
        case SizingMode.WORKLOADS if sizing.per_client_replica is not None:
            return _by_workloads(observed, limits, sizing.per_client_replica)
        case SizingMode.DEMAND:
            return _by_demand(observed, limits)
    return PoolSize(limits.ceiling, _advised(observed, limits))


def _by_workloads(observed: Observed, limits: Bounds, per_client: int) -> PoolSize:
    """The size of mode Workloads."""
    clients, why, before = observed.clients, unseen(observed), standing(observed, limits)
    if clients is None or not clients.found:
        return PoolSize(before, Recommendation(value=before, reason=UNKNOWN, inputs=f"{why}: the size stays"))
    decision = demand.by_replicas(per_client, limits)
    stays = bool(why) and before > decision.size
    size, reason = (before, UNKNOWN) if stays else (decision.size, decision.reason.value)
    inputs = f"{_replicas(clients)}, {counted(per_client, 'connection')} for each{_no_shrink(why)}"
    return PoolSize(size, Recommendation(value=size, reason=reason, inputs=inputs))


def _by_demand(observed: Observed, limits: Bounds) -> PoolSize:
    """The size of mode Demand."""
    measured = observed.memory.demand
    decision = measured.decision if measured and measured.decision else UNMEASURED
    size = measured.sizing.size if measured else standing(observed, limits)
    size = max(limits.floor, min(limits.ceiling, size))
    last = observed.status.recommendation
    if decision is UNMEASURED and last is not None and last.value == size:
        return PoolSize(size, last)  # a restarted operator has measured nothing that differs
    inputs = "nothing was measured yet" if decision is UNMEASURED else _inputs(observed, decision)
    reason = UNKNOWN if limits.unsure and decision.reason is SizingReason.CALMING else decision.reason.value
    inputs += _no_shrink(unseen(observed))
    return PoolSize(size, Recommendation(value=size, reason=reason, inputs=inputs))


def _advised(observed: Observed, limits: Bounds) -> Recommendation:
    """What the measured demand asks for, in mode Fixed. No size follows it, so it needs no steps."""
    measured, last = observed.memory.demand, observed.status.recommendation
    if (measured is None or measured.decision is None) and last is not None and last.reason in set(SizingReason):
        return last
    decision = measured.decision if measured and measured.decision else UNMEASURED
    value = max(limits.floor, min(limits.ceiling, measured.highest if measured else 0))
    if last is not None and measured is not None and measured.young:
        value = max(value, min(limits.ceiling, last.value))
    enough = demand.staffed(decision.need) <= limits.ceiling
    reason = SizingReason.ENOUGH if enough else SizingReason.AT_LIMIT
    return Recommendation(value=value, reason=reason.value, inputs=_inputs(observed, decision))


def _no_shrink(why: str) -> str:
    return f"; {why}: the size does not shrink" if why else ""


def _replicas(clients: ClientReplicas) -> str:
    return f"{clients.desired} client {'replica' if clients.desired == 1 else 'replicas'}"


def _inputs(observed: Observed, decision: Decision) -> str:
    """The inputs in words. They are rounded, so that they do not change while the pool is at rest."""
    measured = observed.memory.demand
    last = measured.sizing.windows[-1] if measured and measured.sizing.windows else None
    waiting = f", {last.queued:.1f} clients waited" if last and last.queued >= 0.05 else ""
    used = f"{decision.need:.1f} connections in use{waiting}"
    if observed.clients is None or not observed.clients.found:
        return used
    each = f", {decision.per_client:.2g} connections for each" if decision.per_client else ""
    return f"{used}; {_replicas(observed.clients)}{each}"
