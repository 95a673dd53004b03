"""What could be better about a pool, with figures; nothing in the operator follows it. Pure."""

import math
from enum import StrEnum

from pgbouncer_operator.api.status import Advice
from pgbouncer_operator.api.tuning import SizingMode
from pgbouncer_operator.reconcile.budget.size import PoolSize
from pgbouncer_operator.reconcile.cache.workloads import ClientReplicas
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.sizing import demand

SPARE = 5  # connections that nobody should be told to save
CROWDED = 0.9  # of clients.maxPerPod
STARVED = 3  # windows in a row in which clients waited
ROOM = "Make the pools in your clients smaller, raise clients.maxPerPod, or raise replicas."


class PoolAdvice(StrEnum):
    """What an advice is about. The order is the order in status."""

    STARVING = "Starving"
    CLIENTS_NEAR_LIMIT = "ClientsNearLimit"
    CLIENTS_NOT_FOUND = "ClientsNotFound"
    CLIENTS_UNKNOWN = "ClientsUnknown"
    CLIENTS_MAY_OUTGROW = "ClientsMayOutgrow"
    OVER_SIZED = "OverSized"
    IDLE = "Idle"


def advice(observed: Observed, size: PoolSize) -> tuple[Advice, ...]:
    """Everything there is to say now."""
    found = {
        PoolAdvice.STARVING: _starving(observed, size),
        PoolAdvice.CLIENTS_NEAR_LIMIT: _crowded(observed),
        PoolAdvice.CLIENTS_NOT_FOUND: _not_found(observed),
        PoolAdvice.CLIENTS_UNKNOWN: _unknown(observed),
        PoolAdvice.CLIENTS_MAY_OUTGROW: _outgrowing(observed),
        PoolAdvice.OVER_SIZED: _over_sized(observed, size),
        PoolAdvice.IDLE: _idle(observed),
    }
    return tuple(Advice(reason=subject.value, message=text) for subject, text in found.items() if text)


def _starving(observed: Observed, size: PoolSize) -> str:
    """Clients wait all the time, and more connections than the pool may hold would help."""
    known, connections = observed.memory.demand, observed.spec.spec.server_connections
    last = known.sizing.windows[-STARVED:] if known else ()
    if known is None or known.decision is None or len(last) < STARVED or any(each.queued < 1 for each in last):
        return ""
    want = demand.staffed(known.decision.need)
    if want <= size.size:
        return ""
    waited = round(sum(each.queued for each in last) / len(last))
    told = f"{waited} clients wait for a server connection all the time; {want} connections would do"
    member, namespace = observed.membership, observed.view.namespace
    if member and size.size < size.wanted:
        return (
            f"{told}, PostgresServer {member.server} gives this pool {size.size}. Ask its owner for a larger share "
            f"of namespace {namespace}, or a larger budget, or shorten transactions."
        )
    if size.wanted >= connections.most:  # which a pool of a server need not have set itself
        limit = (
            f"serverConnections.max, or else the share of namespace {namespace}," if member else "serverConnections.max"
        )
        return f"{told}, {limit} is {connections.most}. Raise it, if the server can take more, or shorten transactions."
    by_workloads = connections.sizing.mode is SizingMode.WORKLOADS
    return f"{told}, the size is {size.wanted}. Raise sizing.perClientReplica." if by_workloads else ""


def _crowded(observed: Observed) -> str:
    """Clients' own pools are about to open more connections than pods accept."""
    most = observed.spec.spec.clients.max_per_pod
    known = [
        (pod.name, state.clients) for pod in observed.living if (state := observed.states.get(pod.uid)) is not None
    ]
    full = [(name, count) for name, count in known if count >= CROWDED * most]
    if full:
        told = f"{len(full)} of {len(known)} pods have more than {CROWDED:.0%} of the {most} clients that they accept"
        return f"{told}. {ROOM}"
    if len(known) < len(observed.living):
        return ""
    return _to_come(observed.clients, sum(count for _, count in known), most * len(known))


def _to_come(clients: ClientReplicas | None, connected: int, accepted: int) -> str:
    """Replicas that may come, each with as many connections as one has now, are more than all pods accept."""
    if clients is None or not clients.ready:
        return ""
    each = math.ceil(connected / clients.ready)
    if each * clients.most <= accepted:
        return ""
    return (
        f"A client replica opens {each} connections; the {clients.most} that there may be would open "
        f"{each * clients.most}, and all pods together accept {accepted}. {ROOM}"
    )


def _not_found(observed: Observed) -> str:
    missing = observed.clients.missing if observed.clients else ()
    if not missing:
        return ""
    return f"{', '.join(missing)} does not exist in this namespace. Create it, or correct clients.workloads."


def _unknown(observed: Observed) -> str:
    if not observed.view.clients or observed.clients is not None:
        return ""
    return (
        "The operator may not list the kinds that clients.workloads names, so their replicas are unknown. "
        "Give it that right: clientWorkloads.enabled in its chart."
    )


def _outgrowing(observed: Observed) -> str:
    """Autoscalers may bring clients to more replicas than there are connections for."""
    connections, clients = observed.spec.spec.server_connections, observed.clients
    per_client = connections.sizing.per_client_replica
    if clients is None or per_client is None or connections.sizing.mode is not SizingMode.WORKLOADS:
        return ""
    need = clients.most * per_client
    if need <= connections.most:
        return ""
    return (
        f"The client workloads may grow to {clients.most} replicas, which need {need} connections at {per_client} "
        f"each; serverConnections.max is {connections.most}. Raise it, or lower maxReplicas of their autoscaler."
    )


def _over_sized(observed: Observed, size: PoolSize) -> str:
    """Less than half would do. After a restart, what was told stands until enough was seen again."""
    connections, known = observed.spec.spec.server_connections, observed.memory.demand
    mode = connections.sizing.mode
    if mode is SizingMode.DEMAND:
        return ""
    if known is None or known.young:
        return _told(observed, PoolAdvice.OVER_SIZED)
    if 2 * known.highest > size.wanted - SPARE or not any(each.busy for each in known.sizing.windows):
        return ""  # unused is not over-sized
    told = f"{known.highest} connections would have done in the last minutes; "
    if mode is SizingMode.WORKLOADS:
        return f"{told}the size is {size.wanted}. Lower sizing.perClientReplica, or set sizing.mode to Demand."
    return f"{told}serverConnections.max is {connections.most}. Lower it, or set sizing.mode to Demand."


def _idle(observed: Observed) -> str:
    known = observed.memory.demand
    if not observed.spec.spec.replicas:
        return ""  # somebody has seen to it
    if known is None or not known.idle:
        quiet = known is None or not any(each.busy for each in known.sizing.windows)
        return _told(observed, PoolAdvice.IDLE) if quiet else ""
    return "No transaction in the last hour. Delete the pool if nobody needs it, or set replicas to 0."


def _told(observed: Observed, subject: PoolAdvice) -> str:
    return next((each.message for each in observed.status.advice or () if each.reason == subject.value), "")
