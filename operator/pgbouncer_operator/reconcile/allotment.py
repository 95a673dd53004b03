"""How many server connections a pool is to hold now, and how many would do. Pure.

The one number that everything else divides: `desired` and the ledger take it as their budget. What would do is reckoned
in every mode; modes Workloads and Demand follow it.
"""

from dataclasses import dataclass, replace

from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.api.status import Recommendation
from pgbouncer_operator.api.tuning import SizingMode
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.resources.desired import room
from pgbouncer_operator.sizing import demand
from pgbouncer_operator.sizing.demand import Bounds, Decision, Reason

UNKNOWN = "ClientsUnknown"  # client workloads that cannot be seen: nothing shrinks
UNMEASURED = Decision(0, 0, 0.0, 0.0, Reason.ENOUGH)


@dataclass(frozen=True, slots=True)
class Allotment:
    """size: what the pool is to hold. recommendation: what would do, which is the size but in mode Fixed.

    granted: what its PostgresServer lets it hold, None where it has none.
    """

    size: int
    recommendation: Recommendation
    granted: int | None = None

    @property
    def budget(self) -> int:
        """What the pool may hold now: its size, or less where its server has no more for it."""
        return self.size if self.granted is None else min(self.size, self.granted)


def bounds(seen: Observed) -> Bounds:
    """Between what the wanted pods and one more of a roll need at least, and what the pool may hold at most.

    Where the wanted pods do not fit, nothing is left to follow anybody with. The spec must be readable.
    """
    assert isinstance(seen.spec, ConnectionPool)
    pool, clients = seen.spec, seen.clients.desired if seen.clients else 0
    connections, fitting = pool.spec.server_connections, room(pool)
    needed = fitting.floor * (fitting.replicas + fitting.surge)
    if fitting.shortage and fitting.replicas == connections.most // fitting.floor:
        needed = connections.most
    floor = min(connections.most, max(connections.sizing.min or 1, needed))
    return Bounds(floor, connections.most, clients, bool(unseen(seen)))


def standing(seen: Observed, given: Bounds) -> int:
    """The size in force: as it was told last, else all that the pool may hold. A restart shrinks nothing."""
    told = seen.status.server_connections
    size = told.size if told is not None and told.size is not None else given.ceiling
    return max(given.floor, min(given.ceiling, size))


def unseen(seen: Observed) -> str:
    """Which client workloads cannot be seen, in words; empty when all can, or none are named."""
    if not seen.view.clients:
        return ""
    if seen.clients is None:
        return "clients.workloads cannot be listed"
    if not seen.clients.found:
        return "none of clients.workloads was found"
    return "not all of clients.workloads were found" if seen.clients.missing else ""


def allot(seen: Observed) -> Allotment:
    """The size now. The spec must be readable, and `measured` have had its look."""
    entry = seen.membership.entry if seen.membership else None
    return replace(_sized(seen), granted=entry.connections if entry else None)


def _sized(seen: Observed) -> Allotment:
    assert isinstance(seen.spec, ConnectionPool)
    sizing = seen.spec.spec.server_connections.sizing
    given = bounds(seen)
    match sizing.mode:
        case SizingMode.WORKLOADS if sizing.per_client_replica is not None:
            return _by_workloads(seen, given, sizing.per_client_replica)
        case SizingMode.DEMAND:
            return _by_demand(seen, given)
    return Allotment(given.ceiling, _advised(seen, given))


def _by_workloads(seen: Observed, given: Bounds, per_client: int) -> Allotment:
    clients, why, before = seen.clients, unseen(seen), standing(seen, given)
    if clients is None or not clients.found:
        return Allotment(before, Recommendation(value=before, reason=UNKNOWN, inputs=f"{why}: the size is held"))
    found = demand.by_replicas(per_client, given)
    held = bool(why) and before > found.size
    size, reason = (before, UNKNOWN) if held else (found.size, found.reason.value)
    inputs = f"{clients.desired} client replicas, {per_client} connections for each{_nothing_shrinks(why)}"
    return Allotment(size, Recommendation(value=size, reason=reason, inputs=inputs))


def _by_demand(seen: Observed, given: Bounds) -> Allotment:
    known = seen.memory.demand
    decision = known.decision if known and known.decision else UNMEASURED
    size = known.sizing.size if known else standing(seen, given)
    size = max(given.floor, min(given.ceiling, size))
    told = seen.status.recommendation
    if decision is UNMEASURED and told is not None and told.value == size:
        return Allotment(size, told)  # a restarted operator has nothing new to say
    inputs = "nothing was measured yet" if decision is UNMEASURED else _measured(seen, decision)
    reason = UNKNOWN if given.unsure and decision.reason is Reason.CALMING else decision.reason.value
    inputs += _nothing_shrinks(unseen(seen))
    return Allotment(size, Recommendation(value=size, reason=reason, inputs=inputs))


def _advised(seen: Observed, given: Bounds) -> Recommendation:
    """What the measured demand would ask for: in mode Fixed nothing follows it, so it needs no steps."""
    known, told = seen.memory.demand, seen.status.recommendation
    if (known is None or known.decision is None) and told is not None and told.reason in set(Reason):
        return told
    decision = known.decision if known and known.decision else UNMEASURED
    value = max(given.floor, min(given.ceiling, known.highest if known else 0))
    if told is not None and known is not None and known.young:
        value = max(value, min(given.ceiling, told.value))
    enough = demand.staffed(decision.need) <= given.ceiling
    reason = Reason.ENOUGH if enough else Reason.AT_LIMIT
    return Recommendation(value=value, reason=reason.value, inputs=_measured(seen, decision))


def _nothing_shrinks(why: str) -> str:
    return f"; {why}: nothing shrinks" if why else ""


def _measured(seen: Observed, decision: Decision) -> str:
    """The inputs in words, rounded so that they rest when the pool does."""
    known = seen.memory.demand
    last = known.sizing.windows[-1] if known and known.sizing.windows else None
    waiting = f", {last.queued:.1f} clients waited" if last and last.queued >= 0.05 else ""
    told = f"{decision.need:.1f} connections in use{waiting}"
    if seen.clients is None or not seen.clients.found:
        return told
    each = f", {decision.per_client:.2g} connections for each" if decision.per_client else ""
    return f"{told}; {seen.clients.desired} client replicas{each}"
