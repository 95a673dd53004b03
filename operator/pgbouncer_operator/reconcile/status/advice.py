"""What could be better about a pool, with figures; nothing in the operator follows it. Pure."""

import math
from enum import StrEnum

from pgbouncer_operator.api.status import Advice
from pgbouncer_operator.api.tuning import SizingMode
from pgbouncer_operator.pgbouncer import vulnerabilities
from pgbouncer_operator.reconcile.budget.size import PoolSize
from pgbouncer_operator.reconcile.cache.workloads import ClientReplicas
from pgbouncer_operator.reconcile.memory import MeasuredDemand
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.status.certificates import ends_soon
from pgbouncer_operator.sizing import demand
from pgbouncer_operator.wording import counted

SPARE = 5  # connections that are too few to advise saving them
CROWDED = 0.9  # of the clients that a pod accepts
MOST_CVES = 3  # that are named; the newest first
MOST_ROLES = 3  # that are named
STARVED = 3  # windows in a row in which clients waited
ROOM_OF_THE_NODE = (
    "Make the pools in your clients smaller, raise the hard limit of open files of the nodes' container runtime, or "
    "raise replicas."
)
ROOM = "Make the pools in your clients smaller, raise clients.maxPerPod, or raise replicas."


class PoolAdvice(StrEnum):
    """What an advice is about. The order is the order in status."""

    PGBOUNCER_VULNERABLE = "PgBouncerVulnerable"
    CERTIFICATE_ENDS_SOON = "CertificateEndsSoon"
    PASSWORDS_NOT_SCRAM = "PasswordsNotScram"
    STARVING = "Starving"
    CLIENTS_NEAR_LIMIT = "ClientsNearLimit"
    CLIENTS_NOT_FOUND = "ClientsNotFound"
    CLIENTS_UNKNOWN = "ClientsUnknown"
    CLIENTS_MAY_OUTGROW = "ClientsMayOutgrow"
    OVER_SIZED = "OverSized"
    IDLE = "Idle"


def advice(observed: Observed, size: PoolSize) -> tuple[Advice, ...]:
    """All advice of this look, in the order of `PoolAdvice`."""
    messages = {
        PoolAdvice.PGBOUNCER_VULNERABLE: _vulnerable(observed),
        PoolAdvice.CERTIFICATE_ENDS_SOON: ends_soon(observed),
        PoolAdvice.PASSWORDS_NOT_SCRAM: _md5_passwords(observed),
        PoolAdvice.STARVING: _starving(observed, size),
        PoolAdvice.CLIENTS_NEAR_LIMIT: _clients_near_limit(observed),
        PoolAdvice.CLIENTS_NOT_FOUND: _clients_not_found(observed),
        PoolAdvice.CLIENTS_UNKNOWN: _clients_unknown(observed),
        PoolAdvice.CLIENTS_MAY_OUTGROW: _clients_may_outgrow(observed),
        PoolAdvice.OVER_SIZED: _over_sized(observed, size),
        PoolAdvice.IDLE: _idle(observed),
    }
    return tuple(Advice(reason=subject.value, message=message) for subject, message in messages.items() if message)


def _vulnerable(observed: Observed) -> str:
    """Pods run a PgBouncer with known vulnerabilities: which, the worst of them, and what to do."""
    states = [state for pod in observed.living if (state := observed.states.get(pod.uid)) is not None]
    affected = [each.pgbouncer for each in states if vulnerabilities.known(each.pgbouncer)]
    if not affected:
        return ""
    version = vulnerabilities.oldest(affected)
    found = vulnerabilities.known(version)
    worst = ", ".join(f"{each.cve} ({each.effect})" for each in found[:MOST_CVES])
    rest = f", and {len(found) - MOST_CVES} more" if len(found) > MOST_CVES else ""
    pods = f"{counted(len(affected), 'pod')} {'runs' if len(affected) == 1 else 'run'}"
    return (
        f"{pods} PgBouncer {version}, which has known vulnerabilities: {worst}{rest}. "
        f"Replace the pods by a pool image with PgBouncer {vulnerabilities.newest_fix()} or newer, such as the one of "
        "this operator's release."
    )


def _md5_passwords(observed: Observed) -> str:
    """Looked-up roles that cannot log in: which, why, and what to do. Names come from pods, so they are bounded."""
    states = [state for pod in observed.living if (state := observed.states.get(pod.uid)) is not None]
    names = sorted({name for state in states for name in state.md5_roles})
    if not names:
        return ""
    shown = ", ".join(f'"{_printable(each)}"' for each in names[:MOST_ROLES])
    rest = " and others" if len(names) > MOST_ROLES else ""
    return (
        f"PostgreSQL stores the password of {'role' if len(names) == 1 else 'roles'} {shown}{rest} as md5, so clients "
        "cannot log in through authQuery: they see SASL authentication failed. Set password_encryption to "
        "scram-sha-256 and the password again by ALTER ROLE ... PASSWORD, or add the role to users."
    )


def _printable(name: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in name)


def _starving(observed: Observed, size: PoolSize) -> str:
    """Clients wait all the time, and more connections than the pool may hold would help."""
    measured = observed.memory.demand
    last = measured.sizing.windows[-STARVED:] if measured else ()
    if measured is None or measured.decision is None or len(last) < STARVED or any(each.queued < 1 for each in last):
        return ""
    need = demand.staffed(measured.decision.need)
    if need <= size.size:
        return ""
    waiting = round(sum(each.queued for each in last) / len(last))
    message = (
        f"On average {counted(waiting, 'client')} waited for a server connection in the last measurements; "
        f"the demand needs {counted(need, 'connection')}, and"
    )
    return _limit_of_starving(observed, size, message)


def _limit_of_starving(observed: Observed, size: PoolSize, message: str) -> str:
    """The message, with what keeps the pool from growing and what to do; "" where the pool grows by itself."""
    connections, member, namespace = observed.spec.spec.server_connections, observed.membership, observed.view.namespace
    if member and size.size < size.wanted:
        return (
            f"{message} PostgresServer {member.server} gives this pool {size.size}. Ask its owner for a larger share "
            f"of namespace {namespace}, or a larger budget, or shorten transactions."
        )
    if size.wanted >= connections.most:
        # A pool of a PostgresServer may leave its own maximum out.
        limit = f"serverConnections.max, or the share of namespace {namespace}," if member else "serverConnections.max"
        return (
            f"{message} {limit} is {connections.most}. Raise it if the server can take more, or shorten transactions."
        )
    if connections.sizing.mode is SizingMode.WORKLOADS:
        return f"{message} the size is {size.wanted}. Raise sizing.perClientReplica."
    return ""


def _clients_near_limit(observed: Observed) -> str:
    """Clients' own pools are about to open more connections than pods accept."""
    known = [(pod, state) for pod in observed.living if (state := observed.states.get(pod.uid)) is not None]
    most = [observed.clients_max(pod) for pod, _ in known]
    limited = any(each < observed.spec.spec.clients.max_per_pod for each in most)
    room = ROOM_OF_THE_NODE if limited else ROOM
    full = [each for (_, state), each in zip(known, most, strict=True) if state.clients >= CROWDED * each]
    if full:
        return (
            f"{len(full)} of {len(known)} pods have {CROWDED:.0%} or more of the {counted(min(full), 'client')} that a "
            f"pod accepts. {room}"
        )
    if len(known) < len(observed.living):
        return ""
    come = _clients_to_come(observed.clients, sum(state.clients for _, state in known), sum(most))
    return f"{come} {room}" if come else ""


def _clients_to_come(clients: ClientReplicas | None, connected: int, accepted: int) -> str:
    """All client replicas that may come, with as many connections as one has now, open more than all pods accept."""
    if clients is None or not clients.ready:
        return ""
    each = math.ceil(connected / clients.ready)
    if each * clients.most <= accepted:
        return ""
    return (
        f"Each client replica opens {counted(each, 'connection')}: {counted(clients.most, 'replica')}, the most that "
        f"the workloads may have, would open {each * clients.most}, and all pods together accept {accepted}."
    )


def _clients_not_found(observed: Observed) -> str:
    missing = observed.clients.missing if observed.clients else ()
    if not missing:
        return ""
    return f"Not found in this namespace: {', '.join(missing)}. Create what is missing, or correct clients.workloads."


def _clients_unknown(observed: Observed) -> str:
    if not observed.view.clients or observed.clients is not None:
        return ""
    return (
        "The operator has no right to list the kinds that clients.workloads names, so their replicas are unknown. "
        "Set clientWorkloads.enabled in the operator's chart."
    )


def _clients_may_outgrow(observed: Observed) -> str:
    """Autoscalers may bring clients to more replicas than there are connections for."""
    connections, clients = observed.spec.spec.server_connections, observed.clients
    per_client = connections.sizing.per_client_replica
    if clients is None or per_client is None or connections.sizing.mode is not SizingMode.WORKLOADS:
        return ""
    need = clients.most * per_client
    if need <= connections.most:
        return ""
    return (
        f"The client workloads may grow to {counted(clients.most, 'replica')}, for which {need} connections are "
        f"needed, {per_client} each; serverConnections.max is {connections.most}. Raise it, or lower maxReplicas of "
        "their autoscaler."
    )


def _over_sized(observed: Observed, size: PoolSize) -> str:
    """Less than half is enough. After a restart, the advice in status stands until enough is measured again."""
    connections, measured = observed.spec.spec.server_connections, observed.memory.demand
    mode = connections.sizing.mode
    if mode is SizingMode.DEMAND:
        return ""
    if measured is None or measured.young:
        return _in_status(observed, PoolAdvice.OVER_SIZED)
    if 2 * measured.highest > size.wanted - SPARE or _unused(measured):
        return ""
    message = f"{counted(measured.highest, 'connection')} would have been enough in the last minutes;"
    if mode is SizingMode.WORKLOADS:
        return f"{message} the size is {size.wanted}. Lower sizing.perClientReplica, or set sizing.mode to Demand."
    return f"{message} serverConnections.max is {connections.most}. Lower it, or set sizing.mode to Demand."


def _idle(observed: Observed) -> str:
    """No transaction for long. After a restart, the advice in status stands until the first transaction."""
    measured = observed.memory.demand
    if not observed.spec.spec.replicas:
        return ""
    if measured is None or not measured.idle:
        return _in_status(observed, PoolAdvice.IDLE) if measured is None or _unused(measured) else ""
    return "No transaction in the last hour. Delete the pool if nobody needs it, or set replicas to 0."


def _unused(measured: MeasuredDemand) -> bool:
    return not any(each.busy for each in measured.sizing.windows)


def _in_status(observed: Observed, subject: PoolAdvice) -> str:
    return next((each.message for each in observed.status.advice or () if each.reason == subject.value), "")
