"""One look at a PostgresServer: who asks for how much, what each gets, and what is told of it. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason, merge
from pgbouncer_operator.api.connection_pool import ConnectionPool, InvalidSpec
from pgbouncer_operator.api.postgres_server import Allocation, PostgresServer, ReadLimits, ServerStatus, previous
from pgbouncer_operator.api.tuning import SizingMode
from pgbouncer_operator.pgbouncer.grants import Grants, GrantsError
from pgbouncer_operator.reconcile import server_limits
from pgbouncer_operator.reconcile.membership import most
from pgbouncer_operator.reconcile.projections import ChildView, PoolView, ServerView
from pgbouncer_operator.reconcile.server_limits import Reading
from pgbouncer_operator.resources.desired import room
from pgbouncer_operator.sizing.allocation import Allocations, Applicant, Portion, Terms, allocate, held


@dataclass(frozen=True, slots=True)
class Asked:
    """What a pool's spec and status ask for. None: the spec cannot be read, so it keeps what it has."""

    floor: int
    want: int


@dataclass(frozen=True, slots=True)
class Holding:
    """What a pool's ledger says. most: its pods may hold, None while unknown. server, confirmed: where it is from."""

    most: int | None
    server: str = ""
    confirmed: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """A pool that refers to the server."""

    view: PoolView
    asked: Asked | None
    holding: Holding
    welcome: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """What was read beside the objects. problem: a sentence about the CA, "" when all is well.

    reading: the server's own answer, None until there is one.
    """

    problem: str = ""
    reading: Reading | None = None


def asks(spec: ConnectionPool | InvalidSpec, status: str, server: PostgresServer) -> Asked | None:
    """What the pool wants: its size, as it was told last, or its maximum; nothing while it wants no pods."""
    if isinstance(spec, InvalidSpec):
        return None
    maximum = most(spec, server)
    if not spec.spec.replicas:
        return Asked(0, 0)
    fitting = room(spec, maximum)
    told = json.loads(status).get("serverConnections") or {}
    fixed = spec.spec.server_connections.sizing.mode is SizingMode.FIXED
    size = maximum if fixed else told.get("size", maximum)
    return Asked(fitting.floor * (fitting.replicas + fitting.surge), min(maximum, size))


def holds(ledger: ChildView | None, pods: frozenset[str]) -> Holding:
    """What the pods may hold by their ledger; without one that can be read nobody knows, but for a pool without pods.

    pods: uids of all pods of the pool that may run.
    """
    if ledger is None:
        return Holding(None if pods else 0)
    try:
        grants = Grants.from_json(ledger.unpack().get("data", {}).get(naming.GRANTS_KEY, ""))
    except GrantsError:
        return Holding(None)
    return Holding(held(grants, pods), grants.server, grants.allocation)


def reaches(status: str) -> bool:
    """Whether a pool's status says nothing of a server that does not answer."""
    conditions = json.loads(status).get("conditions") or ()
    return not any(each["type"] == ConditionType.BACKEND_REACHABLE and each["status"] == "False" for each in conditions)


def shared_out(
    view: ServerView, server: PostgresServer, members: Sequence[Member], emptied: frozenset[str]
) -> Allocations:
    """The next round. emptied: names of pools with an allocation, of which neither pod nor Deployment is left."""
    name, before = f"{view.namespace}/{view.name}", view.allocations
    budget = server.spec.connections.budget
    if budget is None:
        return before
    applicants = []
    for each in sorted(members, key=lambda member: (member.view.created, member.view.namespace, member.view.name)):
        pool = f"{each.view.namespace}/{each.view.name}"
        entry = before.entries.get(pool)
        if not each.welcome and entry is None:
            continue
        standing = entry.connections if entry else 0
        asked = each.asked or Asked(standing, standing)
        ours = each.holding.server == name
        applicants.append(
            Applicant(
                pool=pool,
                uid=each.view.uid,
                group=each.view.namespace,
                floor=asked.floor,
                want=asked.want,
                held=each.holding.most,
                confirmed=each.holding.confirmed if ours else 0,
                welcome=each.welcome,
            )
        )
    portions = {each.group: _portion(server, each.group) for each in applicants}
    return allocate(before, applicants, Terms(budget, portions, emptied))


def told(
    view: ServerView, server: PostgresServer | InvalidSpec, shared: Allocations, heard: Heard, today: str
) -> ServerStatus:
    """The status to write. today: RFC 3339."""
    before = _before(view)
    known = (before.conditions or ()) if before.observed_generation is not None else ()
    of_limits = next((each for each in known if each.type is ConditionType.LIMITS_KNOWN), None)
    if isinstance(server, InvalidSpec):
        found = [*_stalled(Reason.INVALID_SPEC, str(server)), *([of_limits] if of_limits else [])]
        figures: dict[str, Any] = {"budget": before.budget, "limits": before.limits, "advice": before.advice}
    else:
        if server_limits.told_at_all(server, view):
            of_limits = server_limits.condition(server, view, heard.reading, of_limits)
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
    before, told = json.loads(view.status), status.wire()
    if told == before:
        return None
    metadata = {"namespace": view.namespace, "name": view.name, "uid": view.uid}
    metadata["resourceVersion"] = str(view.resource_version)
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.SERVER_KIND,
        "metadata": metadata,
        "status": {**dict.fromkeys(before), **told},  # a merge leaves what is not named; null removes it
    }


def _portion(server: PostgresServer, namespace: str) -> Portion:
    share = server.spec.share_of(namespace)
    return Portion(share.guaranteed, share.max, share.weight)


def _before(view: ServerView) -> ServerStatus:
    try:
        return previous(json.loads(view.status))
    except ValidationError:
        return ServerStatus()


def _figures(server: PostgresServer, view: ServerView) -> dict[str, Any]:
    limits = view.limits if server.spec.monitoring else None
    told = limits and ReadLimits(max_connections=limits.maximum, reserved=limits.reserved, started=limits.started)
    advice = server_limits.advice(server, limits)
    return {"budget": server.spec.connections.budget, "limits": told, "advice": advice or None}


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
