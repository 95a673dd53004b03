"""The conditions of a PostgresServer, and its status as data. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason, merge
from pgbouncer_operator.api.connection_pool import InvalidSpec
from pgbouncer_operator.api.postgres_server import Allocation, PostgresServer, ReadLimits, ServerStatus, previous
from pgbouncer_operator.reconcile.cache.views import ServerView
from pgbouncer_operator.reconcile.server import limits
from pgbouncer_operator.reconcile.server.limits import LimitsReading
from pgbouncer_operator.sizing.allocation import Allocations


@dataclass(frozen=True, slots=True)
class ServerReadings:
    """What was read beside the objects. problem: a sentence about the CA, "" when all is well.

    reading: the server's own answer, None until there is one.
    """

    problem: str = ""
    reading: LimitsReading | None = None


def server_status(
    view: ServerView, server: PostgresServer | InvalidSpec, shared: Allocations, heard: ServerReadings, today: str
) -> ServerStatus:
    """The status to write. today: RFC 3339."""
    before = _before(view)
    known = (before.conditions or ()) if before.observed_generation is not None else ()
    of_limits = next((each for each in known if each.type is ConditionType.LIMITS_KNOWN), None)
    if isinstance(server, InvalidSpec):
        found = [*_stalled(Reason.INVALID_SPEC, str(server)), *([of_limits] if of_limits else [])]
        figures: dict[str, Any] = {"budget": before.budget, "limits": before.limits, "advice": before.advice}
    else:
        if limits.told_at_all(server, view):
            of_limits = limits.condition(server, view, heard.reading, of_limits)
        else:
            of_limits = None
        found = _conditions(server, shared, heard.problem, of_limits)
        figures = _figures(server, view)
    conditions = [each.model_copy(update={"observed_generation": view.generation}) for each in found]
    return ServerStatus(
        observed_generation=view.generation,
        conditions=merge(known, conditions, today),
        allocated=shared.charged,
        pools=len(shared.entries),
        seq=shared.seq,
        allocations=tuple(
            Allocation(pool=each.pool, uid=each.uid, connections=each.connections, high=each.high, seq=each.seq)
            for each in shared.entries.values()
        ),
        **figures,
    )


def patch(view: ServerView, status: ServerStatus) -> dict[str, Any] | None:
    """The write, by compare and swap; None when status says it already."""
    before, written = json.loads(view.status), status.wire()
    if written == before:
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
    known = view.limits if server.spec.monitoring else None
    written = known and ReadLimits(max_connections=known.maximum, reserved=known.reserved, started=known.started)
    advice = limits.advice(server, known)
    return {"budget": server.spec.connections.budget, "limits": written, "advice": advice or None}


def _conditions(
    server: PostgresServer, shared: Allocations, problem: str, of_limits: Condition | None
) -> list[Condition]:
    beside = [of_limits] if of_limits else []
    if problem:
        return [*_stalled(Reason.CA_NOT_FOUND, problem), *beside]
    if server.spec.connections.budget is None and of_limits:
        return [*_waiting(of_limits), of_limits]
    holders = sum(bool(each.charge) for each in shared.entries.values())
    message = f"{holders} pools share {server.spec.connections.budget} connections."
    if not shared.refused:
        return [_condition(ConditionType.READY, ConditionStatus.TRUE, Reason.SHARED, message), *beside]
    names = ", ".join(shared.refused[:5]) + (" and others" if len(shared.refused) > 5 else "")
    message += (
        f" What these pools need at least, or bring from another server, does not fit: {names}. Raise connections.max "
        "or their share."
    )
    return [
        _condition(ConditionType.READY, ConditionStatus.TRUE, Reason.SHARED, message),
        _condition(ConditionType.WITHIN_BUDGET, ConditionStatus.FALSE, Reason.BUDGET_EXCEEDED, message),
        *beside,
    ]


def _waiting(of_limits: Condition) -> list[Condition]:
    """Without any figure there is nothing to share out."""
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
