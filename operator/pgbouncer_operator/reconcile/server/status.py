"""The conditions and the status of a PostgresServer. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason, merge
from pgbouncer_operator.api.connection_pool import InvalidSpec
from pgbouncer_operator.api.postgres_server import (
    Allocation,
    FormerAddress,
    PostgresServer,
    ReadLimits,
    ServerStatus,
    previous,
)
from pgbouncer_operator.reconcile.cache.servers import Standing
from pgbouncer_operator.reconcile.cache.views import ServerView
from pgbouncer_operator.reconcile.server import limits
from pgbouncer_operator.reconcile.server.limits import LimitsReading
from pgbouncer_operator.sizing.allocation import Allocations
from pgbouncer_operator.sizing.relocation import moves
from pgbouncer_operator.wording import counted

# None of these names an object of another namespace.
TAKEN = {
    Standing.YOUNGER: (
        "An older PostgresServer of this namespace has the same host and port and gives their connections. This one "
        "gives none; its pools keep only what their pods need at least. Let them refer to the older one, and delete "
        "this one."
    ),
    Standing.SUPERSEDED: (
        "Another PostgresServer has the same host and port and gives their connections: it has read the server's "
        "limits with its login, or the administrator has chosen it. This one gives none; its pools keep only what "
        "their pods need at least. Let its pools refer to the one that gives, whose owner may have to allow their "
        "namespaces, and delete this one; or ask the administrator of the operator to name this one in the chart's "
        "value serverHosts."
    ),
}
CONTESTED = (
    "A PostgresServer of another namespace has the same host and port, and nothing says which of them counts: each "
    "gives its whole budget. Give this one a login (spec.monitoring) that reads the limits, or ask the administrator "
    "of the operator to set the chart's value serverHosts."
)
STAYS = (
    "The pools stay at the former host and port, {address}, until all that they may bring fits beside what pools of "
    "other PostgresServers still hold at the new ones. If this lasts, look for pods of those that do not answer, or "
    "raise connections.max."
)


@dataclass(frozen=True, slots=True)
class ServerReadings:
    """What was read besides the watched objects."""

    problem: str = ""
    """A sentence about the CA; empty when it is known or there is none."""
    reading: LimitsReading | None = None
    """What PostgreSQL answered last; None until it has answered."""
    standing: Standing = Standing.IN_FORCE
    """The server's place among all with its host and port."""


def server_status(
    view: ServerView, server: PostgresServer | InvalidSpec, shared: Allocations, heard: ServerReadings, today: str
) -> ServerStatus:
    """The status to write. today: RFC 3339."""
    before = _before(view)
    former = (before.conditions or ()) if before.observed_generation is not None else ()
    of_limits = next((each for each in former if each.type is ConditionType.LIMITS_KNOWN), None)
    if isinstance(server, InvalidSpec):
        present = [*_stalled(Reason.INVALID_SPEC, str(server)), *([of_limits] if of_limits else [])]
        figures: dict[str, Any] = {"budget": before.budget, "limits": before.limits, "advice": before.advice}
    else:
        if limits.told_at_all(server, view):
            of_limits = limits.condition(server, view, heard.reading, of_limits)
        else:
            of_limits = None
        present = _conditions(server, shared, heard, of_limits, view.address)
        figures = _figures(server, view)
    conditions = [each.model_copy(update={"observed_generation": view.generation}) for each in present]
    return ServerStatus(
        observed_generation=view.generation,
        conditions=merge(former, conditions, today),
        allocated=shared.charged,
        pools=len(shared.entries),
        seq=shared.seq,
        allocations=tuple(
            Allocation(
                pool=each.pool,
                uid=each.uid,
                connections=each.connections,
                high=each.high,
                seq=each.seq,
                former=tuple(FormerAddress(address=at, high=most) for at, most in each.former) or None,
            )
            for each in shared.entries.values()
        ),
        address=shared.address or None,
        **figures,
    )


def patch(view: ServerView, status: ServerStatus) -> dict[str, Any] | None:
    """The body of the write, as compare-and-swap; None when the status says it already."""
    before, written = json.loads(view.status), status.wire()
    before.pop("operator", None)  # a write of its own: see reconcile.ownership
    if written == before or written == {**before, "address": written.get("address")}:  # an upgrade writes nothing
        return None
    metadata = {"namespace": view.namespace, "name": view.name, "uid": view.uid}
    metadata["resourceVersion"] = str(view.resource_version)
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.SERVER_KIND,
        "metadata": metadata,
        "status": {**dict.fromkeys(before), **written},  # a merge leaves what is not named; null removes it
    }


def _before(view: ServerView) -> ServerStatus:
    try:
        return previous(json.loads(view.status))
    except ValidationError:
        return ServerStatus()


def _figures(server: PostgresServer, view: ServerView) -> dict[str, Any]:
    read = view.limits if server.spec.monitoring else None
    written = read and ReadLimits(
        max_connections=read.maximum, reserved=read.reserved, started=read.started, address=view.address
    )
    advice = limits.advice(server, read)
    return {"budget": server.spec.connections.budget, "limits": written, "advice": advice or None}


def _conditions(
    server: PostgresServer, shared: Allocations, heard: ServerReadings, of_limits: Condition | None, address: str
) -> list[Condition]:
    beside = [of_limits] if of_limits else []
    if heard.problem:
        return [*_stalled(Reason.CA_NOT_FOUND, heard.problem), *beside]
    if heard.standing in TAKEN:
        return [*_stalled(Reason.HOST_TAKEN, TAKEN[heard.standing]), *beside]
    if server.spec.connections.budget is None and of_limits:
        return [*_waiting(of_limits), of_limits]
    holders = sum(bool(each.charge) for each in shared.entries.values())
    share = "pool shares" if holders == 1 else "pools share"
    message = f"{holders} {share} {counted(server.spec.connections.budget or 0, 'connection')}."
    if shared.elsewhere:
        message += f" Up to {shared.elsewhere} more may still be held here that other PostgresServers have given."
    message += _doubted(shared)
    if heard.standing is Standing.CONTESTED:
        beside.append(_condition(ConditionType.WITHIN_BUDGET, ConditionStatus.FALSE, Reason.HOST_TAKEN, CONTESTED))
    elif moves(shared, address):
        message = STAYS.format(address=shared.address)
        beside.append(_condition(ConditionType.WITHIN_BUDGET, ConditionStatus.FALSE, Reason.BUDGET_EXCEEDED, message))
    elif shared.refused:
        beside.append(_over_budget(shared, message))
    return [_condition(ConditionType.READY, ConditionStatus.TRUE, Reason.SHARED, message), *beside]


def _over_budget(shared: Allocations, message: str) -> Condition:
    """That some pools do not fit."""
    message += (
        f" Pools that do not fit: {_listed(shared.refused)}. Each needs more than is left, or still holds "
        "connections at another server. Raise connections.max or the share of their namespace."
    )
    return _condition(ConditionType.WITHIN_BUDGET, ConditionStatus.FALSE, Reason.BUDGET_EXCEEDED, message)


def _doubted(shared: Allocations) -> str:
    """A sentence about the pools whose ledgers cannot be right; empty without any."""
    if not shared.doubted:
        return ""
    return (
        f" Ledgers that say more than this server gave: {_listed(shared.doubted)}. Each of these pools is charged with "
        "what it was given. Find out who writes the ConfigMap <pool>-grants in its namespace."
    )


def _listed(pools: tuple[str, ...]) -> str:
    return ", ".join(pools[:5]) + (" and others" if len(pools) > 5 else "")


def _waiting(of_limits: Condition) -> list[Condition]:
    """The conditions of a server without a budget."""
    reason, message = of_limits.reason, of_limits.message
    if reason in {Reason.LIMITS_MISSING, Reason.LOGIN_IS_SUPERUSER}:
        return _stalled(reason, message)
    return [
        _condition(ConditionType.READY, ConditionStatus.FALSE, reason, message),
        _condition(ConditionType.RECONCILING, ConditionStatus.TRUE, reason, message),
    ]


def _stalled(reason: Reason, message: str) -> list[Condition]:
    return [
        _condition(ConditionType.READY, ConditionStatus.FALSE, reason, message),
        _condition(ConditionType.STALLED, ConditionStatus.TRUE, reason, message),
    ]


def _condition(kind: ConditionType, status: ConditionStatus, reason: Reason, message: str) -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message)
