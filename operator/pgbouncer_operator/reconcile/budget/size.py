"""How many server connections a pool is to hold now, and how many would do. Pure.

The one number that everything else divides: `desired` and the ledger take it as their budget. What would do is reckoned
in every mode; modes Workloads and Demand follow it.
"""

from dataclasses import dataclass, replace

from pgbouncer_operator.api.status import Recommendation
from pgbouncer_operator.api.tuning import SizingMode
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.resources.desired import room
from pgbouncer_operator.sizing import demand
from pgbouncer_operator.sizing.demand import Bounds, Decision, SizingReason

UNKNOWN = "ClientsUnknown"  # client workloads that cannot be seen: nothing shrinks
UNMEASURED = Decision(0, 0, 0.0, 0.0, SizingReason.ENOUGH)


@dataclass(frozen=True, slots=True)
class PoolSize:
    """How many server connections a pool is to hold, and how many it may."""

    wanted: int
    """What the pool's sizing mode asks for; status tells it as serverConnections.size."""
    recommendation: Recommendation
    """What would do; it is `wanted` in every mode but Fixed."""
    allocation: int | None = None
    """What the pool's PostgresServer gives it; None for a pool that names a host itself."""

    @property
    def size(self) -> int:
        """What the pool may hold now: what is wanted, or less where its server gives less."""
        return self.wanted if self.allocation is None else min(self.wanted, self.allocation)


def bounds(observed: Observed) -> Bounds:
    """Between what the wanted pods and one more of a roll need at least, and what the pool may hold at most.

    Where the wanted pods do not fit, nothing is left to follow anybody with.
    """
    pool, clients = observed.spec, observed.clients.desired if observed.clients else 0
    connections, fitting = pool.spec.server_connections, room(pool)
    needed = fitting.floor * (fitting.replicas + fitting.surge)
    if fitting.shortage and fitting.replicas == connections.most // fitting.floor:
        needed = connections.most
    floor = min(connections.most, max(connections.sizing.min or 1, needed))
    return Bounds(floor, connections.most, clients, bool(unseen(observed)))


def standing(observed: Observed, given: Bounds) -> int:
    """The size in force: as it was told last, else all that the pool may hold. A restart shrinks nothing."""
    told = observed.status.server_connections
    size = told.size if told is not None and told.size is not None else given.ceiling
    return max(given.floor, min(given.ceiling, size))


def unseen(observed: Observed) -> str:
    """Which client workloads cannot be seen, in words; empty when all can, or none are named."""
    if not observed.view.clients:
        return ""
    if observed.clients is None:
        return "clients.workloads cannot be listed"
    if not observed.clients.found:
        return "none of clients.workloads was found"
    return "not all of clients.workloads were found" if observed.clients.missing else ""


def pool_size(observed: Observed) -> PoolSize:
    """The size now. `with_measured_demand` must have had its look."""
    entry = observed.membership.entry if observed.membership else None
    return replace(_sized(observed), allocation=entry.connections if entry else None)


def _sized(observed: Observed) -> PoolSize:
    sizing = observed.spec.spec.server_connections.sizing
    given = bounds(observed)
    match sizing.mode:
        case SizingMode.WORKLOADS if sizing.per_client_replica is not None:
            return _by_workloads(observed, given, sizing.per_client_replica)
        case SizingMode.DEMAND:
            return _by_demand(observed, given)
    return PoolSize(given.ceiling, _advised(observed, given))


def _by_workloads(observed: Observed, given: Bounds, per_client: int) -> PoolSize:
    clients, why, before = observed.clients, unseen(observed), standing(observed, given)
    if clients is None or not clients.found:
        return PoolSize(before, Recommendation(value=before, reason=UNKNOWN, inputs=f"{why}: the size is held"))
    found = demand.by_replicas(per_client, given)
    held = bool(why) and before > found.size
    size, reason = (before, UNKNOWN) if held else (found.size, found.reason.value)
    inputs = f"{clients.desired} client replicas, {per_client} connections for each{_nothing_shrinks(why)}"
    return PoolSize(size, Recommendation(value=size, reason=reason, inputs=inputs))


def _by_demand(observed: Observed, given: Bounds) -> PoolSize:
    known = observed.memory.demand
    decision = known.decision if known and known.decision else UNMEASURED
    size = known.sizing.size if known else standing(observed, given)
    size = max(given.floor, min(given.ceiling, size))
    told = observed.status.recommendation
    if decision is UNMEASURED and told is not None and told.value == size:
        return PoolSize(size, told)  # a restarted operator has nothing new to say
    inputs = "nothing was measured yet" if decision is UNMEASURED else _measured(observed, decision)
    reason = UNKNOWN if given.unsure and decision.reason is SizingReason.CALMING else decision.reason.value
    inputs += _nothing_shrinks(unseen(observed))
    return PoolSize(size, Recommendation(value=size, reason=reason, inputs=inputs))


def _advised(observed: Observed, given: Bounds) -> Recommendation:
    """What the measured demand would ask for: in mode Fixed nothing follows it, so it needs no steps."""
    known, told = observed.memory.demand, observed.status.recommendation
    if (known is None or known.decision is None) and told is not None and told.reason in set(SizingReason):
        return told
    decision = known.decision if known and known.decision else UNMEASURED
    value = max(given.floor, min(given.ceiling, known.highest if known else 0))
    if told is not None and known is not None and known.young:
        value = max(value, min(given.ceiling, told.value))
    enough = demand.staffed(decision.need) <= given.ceiling
    reason = SizingReason.ENOUGH if enough else SizingReason.AT_LIMIT
    return Recommendation(value=value, reason=reason.value, inputs=_measured(observed, decision))


def _nothing_shrinks(why: str) -> str:
    return f"; {why}: nothing shrinks" if why else ""


def _measured(observed: Observed, decision: Decision) -> str:
    """The inputs in words, rounded so that they rest when the pool does."""
    known = observed.memory.demand
    last = known.sizing.windows[-1] if known and known.sizing.windows else None
    waiting = f", {last.queued:.1f} clients waited" if last and last.queued >= 0.05 else ""
    told = f"{decision.need:.1f} connections in use{waiting}"
    if observed.clients is None or not observed.clients.found:
        return told
    each = f", {decision.per_client:.2g} connections for each" if decision.per_client else ""
    return f"{told}; {observed.clients.desired} client replicas{each}"
