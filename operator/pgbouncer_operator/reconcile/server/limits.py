"""How far a server's limits are known, and what to advise about them. Pure.

The limit that its owner wrote is in force; without one it is what PostgreSQL said last.
"""

import json
from dataclasses import dataclass
from enum import StrEnum

from pgbouncer_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.api.status import Advice
from pgbouncer_operator.reconcile.cache.views import ServerView
from pgbouncer_operator.sizing.limits import ServerLimits
from pgbouncer_operator.wording import counted


@dataclass(frozen=True, slots=True)
class LimitsReading:
    """The result of one question to PostgreSQL."""

    limits: ServerLimits | None
    """What it answered; None without an answer."""
    reason: Reason = Reason.LIMITS_READ
    """Why there is no answer; LIMITS_READ with one."""
    message: str = ""
    """A sentence that explains the reason; empty with an answer."""


class ServerAdvice(StrEnum):
    """What an advice is about. The order is the order in status."""

    MAX_ABOVE_SERVER = "MaxAboveServer"
    LIMIT_NEAR_SUM = "LimitNearSum"


def condition(
    server: PostgresServer, view: ServerView, reading: LimitsReading | None, before: Condition | None
) -> Condition:
    """The condition LimitsKnown. reading: None until the first one. before: the condition as it stands in status."""
    if server.spec.monitoring is None:
        message = "It is not known how many connections the server takes. Set connections.max or monitoring.secretRef."
        return _condition(ConditionStatus.FALSE, Reason.LIMITS_MISSING, message + _stays(server, view))
    if reading is None:
        asked = before is not None and before.reason is not Reason.LIMITS_MISSING
        if asked and before:
            return before
        return _condition(ConditionStatus.UNKNOWN, Reason.PENDING, "The operator is asking the server.")
    if reading.limits is not None:
        return _condition(ConditionStatus.TRUE, Reason.LIMITS_READ, f"The server takes {_figures(reading.limits)}.")
    superuser = reading.reason is Reason.LOGIN_IS_SUPERUSER
    status = ConditionStatus.FALSE if superuser else ConditionStatus.UNKNOWN
    return _condition(status, reading.reason, reading.message + _stays(server, view))


def told_at_all(server: PostgresServer, view: ServerView) -> bool:
    """Whether the condition LimitsKnown applies: not to a server with a written limit and no monitoring."""
    return server.spec.monitoring is not None or not _written(view)


def advice(server: PostgresServer, limits: ServerLimits | None) -> tuple[Advice, ...]:
    """What could be better about the server's limit and the budget."""
    most, budget = server.spec.connections.max, server.spec.connections.budget
    if limits is None or most is None or budget is None:
        return ()
    if limits.exceeded_by(most):
        message = (
            f"connections.max is {most}, and the server takes {_figures(limits)}: it may refuse connections of pools. "
            "Lower connections.max, or raise max_connections."
        )
        return (Advice(reason=ServerAdvice.MAX_ABOVE_SERVER.value, message=message),)
    if limits.near(budget):
        message = (
            f"The pools may hold {counted(budget, 'connection')} together, and the server takes {_figures(limits)}: "
            f"that leaves {limits.usable - budget} for migrations, backups, people and abandoned statements. "
            "Raise max_connections, connections.unpooled or connections.headroomPercent."
        )
        return (Advice(reason=ServerAdvice.LIMIT_NEAR_SUM.value, message=message),)
    return ()


def _figures(limits: ServerLimits) -> str:
    return (
        f"{counted(limits.usable, 'connection')} of ordinary logins (max_connections is {limits.maximum}, and "
        f"{limits.reserved} of them are reserved)"
    )


def _stays(server: PostgresServer, view: ServerView) -> str:
    """The sentence about what is in force until the limits are known."""
    if _written(view):
        return " connections.max stays in force."
    budget = server.spec.connections.budget
    return " Pools wait until it is known." if budget is None else f" The last budget, {budget}, stays in force."


def _written(view: ServerView) -> bool:
    """Whether the owner wrote connections.max."""
    return (json.loads(view.spec).get("connections") or {}).get("max") is not None


def _condition(status: ConditionStatus, reason: Reason, message: str) -> Condition:
    return Condition(type=ConditionType.LIMITS_KNOWN, status=status, reason=reason, message=message)
