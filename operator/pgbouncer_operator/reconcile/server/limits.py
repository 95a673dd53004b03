"""What is in force of a server's limits: what its owner wrote, else what the server said last. Pure."""

import json
from dataclasses import dataclass
from enum import StrEnum

from pgbouncer_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.api.status import Advice
from pgbouncer_operator.reconcile.cache.views import ServerView
from pgbouncer_operator.sizing.limits import ServerLimits


@dataclass(frozen=True, slots=True)
class LimitsReading:
    """An answer of the server. limits: None where there is none; reason and message then say why."""

    limits: ServerLimits | None
    reason: Reason = Reason.LIMITS_READ
    message: str = ""


class ServerAdvice(StrEnum):
    """What an advice is about. The order is the order in status."""

    MAX_ABOVE_SERVER = "MaxAboveServer"
    LIMIT_NEAR_SUM = "LimitNearSum"


def condition(
    server: PostgresServer, view: ServerView, reading: LimitsReading | None, before: Condition | None
) -> Condition:
    """How far the server's limits are known. reading: None until the first answer. before: what was told last."""
    if server.spec.monitoring is None:
        message = "Nobody knows how many connections the server takes. Set connections.max, or monitoring.secretRef."
        return _condition(ConditionStatus.FALSE, Reason.LIMITS_MISSING, message + _stays(server, view))
    if reading is None:
        asked = before is not None and before.reason is not Reason.LIMITS_MISSING
        return before if asked and before else _condition(ConditionStatus.UNKNOWN, Reason.PENDING, "It is being asked.")
    if reading.limits is not None:
        return _condition(ConditionStatus.TRUE, Reason.LIMITS_READ, f"The server takes {_figures(reading.limits)}.")
    superuser = reading.reason is Reason.LOGIN_IS_SUPERUSER
    status = ConditionStatus.FALSE if superuser else ConditionStatus.UNKNOWN
    return _condition(status, reading.reason, reading.message + _stays(server, view))


def told_at_all(server: PostgresServer, view: ServerView) -> bool:
    """Whether there is anything to say of the server's limits."""
    return server.spec.monitoring is not None or not _written(view)


def advice(server: PostgresServer, limits: ServerLimits | None) -> tuple[Advice, ...]:
    """What could be better about the server's limit and what is shared out of it."""
    most, budget = server.spec.connections.max, server.spec.connections.budget
    if limits is None or most is None or budget is None:
        return ()
    if limits.exceeded_by(most):
        message = (
            f"connections.max is {most}, and the server takes {_figures(limits)}: it may refuse pools. "
            "Lower connections.max, or raise max_connections."
        )
        return (Advice(reason=ServerAdvice.MAX_ABOVE_SERVER.value, message=message),)
    if limits.near(budget):
        message = (
            f"The pools may hold {budget} together, and the server takes {_figures(limits)}: "
            f"{limits.usable - budget} are left for migrations, backups, people and statements whose client has gone. "
            "Raise max_connections, connections.unpooled or connections.headroomPercent."
        )
        return (Advice(reason=ServerAdvice.LIMIT_NEAR_SUM.value, message=message),)
    return ()


def _figures(limits: ServerLimits) -> str:
    return (
        f"{limits.usable} connections of ordinary logins (max_connections {limits.maximum}, of which "
        f"{limits.reserved} are reserved)"
    )


def _stays(server: PostgresServer, view: ServerView) -> str:
    if _written(view):
        return " What connections.max says stays in force."
    budget = server.spec.connections.budget
    return " Pools wait until it is known." if budget is None else f" The last known budget, {budget}, stays in force."


def _written(view: ServerView) -> bool:
    return (json.loads(view.spec).get("connections") or {}).get("max") is not None


def _condition(status: ConditionStatus, reason: Reason, message: str) -> Condition:
    return Condition(type=ConditionType.LIMITS_KNOWN, status=status, reason=reason, message=message)
