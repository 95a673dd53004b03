"""Condition types, and every reason with what its reader should do."""

from tests.reference.markdown import code, table

from pgbouncer_operator.api.conditions import REMEDIES, ConditionType

_BOTH, _POOL, _SERVER = "both", "ConnectionPool", "PostgresServer"
# What each type says while it is True, and on which kind it stands.
TYPES = {
    ConditionType.READY: (_BOTH, "Every pod runs this spec and logs in to PostgreSQL. A server shares its budget out."),
    ConditionType.RECONCILING: (_BOTH, "Work is in progress. Absent otherwise."),
    ConditionType.STALLED: (_BOTH, "Somebody has to act; what serves goes on. Absent otherwise."),
    ConditionType.CONFIGURATION_APPLIED: (_POOL, "Every pod has loaded and confirmed the configuration of this spec."),
    ConditionType.BACKEND_REACHABLE: (_POOL, "A login to PostgreSQL works from every pod that has tried."),
    ConditionType.CREDENTIALS_AVAILABLE: (_POOL, "Every user has a login and a password."),
    ConditionType.WITHIN_BUDGET: (_BOTH, "The wanted pods fit in serverConnections.max, and in what the server gives."),
    ConditionType.LIMITS_KNOWN: (_SERVER, "The server itself has said how many connections it takes."),
    ConditionType.PAUSED: (_POOL, "Every pod holds queries back."),
    ConditionType.UPDATE_AVAILABLE: (_POOL, "The operator has a newer pod template than the pods run."),
}


def types() -> str:
    """Every type. ValueError names the types that have no row."""
    if missing := [each.value for each in ConditionType if each not in TYPES]:
        raise ValueError(f"tests/reference/conditions.py: TYPES says nothing of {', '.join(missing)}: add a row.")
    return table(("condition", "of", "True means"), [(code(each.value), *TYPES[each]) for each in ConditionType])


def reasons() -> str:
    """Every reason, with its remedy."""
    return table(("reason", "what to do"), [(code(reason), remedy) for reason, remedy in REMEDIES.items()])
