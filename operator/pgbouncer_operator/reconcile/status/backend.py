"""The check of a pool's backend: whether logins to PostgreSQL work, and whether the backend is another pooler. Pure."""

import re

from pgbouncer_operator.api.conditions import Condition, ConditionType, Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.status.checks import FALSE, TRUE, UNKNOWN, condition, reason_of_agent
from pgbouncer_operator.reconcile.status.decided import Decided

# Parts of a host name by which poolers are called.
POOLERS = {"pooler", "pgbouncer", "pgcat", "pgpool", "supavisor", "odyssey"}
# Default ports of PgBouncer and of Supavisor; that of PostgreSQL is 5432.
POOLER_PORTS = {6432, 6543}


def backend_reachable(observed: Observed, decided: Decided) -> Condition:
    """Does a login to PostgreSQL work from every pod that has tried?

    Failures of a pod that tries another configuration belong to that configuration, not to the pool.
    """
    kind = ConditionType.BACKEND_REACHABLE
    trying = decided.rollout.trying if decided.rollout else frozenset()
    answering = [(pod, state) for pod in observed.living if (state := observed.states.get(pod.uid)) is not None]
    settled = [each for each in answering if each[0].uid not in trying]
    before = next((each for each in observed.status.conditions or () if each.type is kind), None)
    if before and answering and not settled:
        return before
    for pod, state in settled or answering:
        if state.backend.ok is False:
            reason = reason_of_agent(state.backend.reason, Reason.BACKEND_UNREACHABLE)
            return condition(kind, FALSE, reason, f"Pod {pod.name}: {state.backend.message}")
    if any(state.backend.ok for _, state in settled or answering):
        return _reachable(observed)
    if before and observed.pause and not observed.pause.expired:
        return before  # nobody can log in during a pause, which is no news about the server
    return condition(kind, UNKNOWN, Reason.PENDING, "No pod has tried to log in yet.")


def _reachable(observed: Observed) -> Condition:
    kind = ConditionType.BACKEND_REACHABLE
    read = observed.memory.server
    found = read.found if read else None
    if sign := pooler(observed.spec) or ("pgbouncer=true" if found and found.pooled else ""):
        member = observed.membership
        where = f"host and port of PostgresServer {member.server}" if member else "backend.host and backend.port"
        where = "host and port in the Secret of backend.secretRef" if found and found.names_host else where
        message = (
            f"A login to PostgreSQL works, but {sign} looks like another pooler: the direct URL would not be direct. "
            f"Set {where} to the server itself."
        )
        return condition(kind, TRUE, Reason.BACKEND_IS_POOLER, message)
    ignored = f" Without effect in the URL of the Secret: {found.ignored}." if found and found.ignored else ""
    return condition(kind, TRUE, Reason.REACHABLE, f"A login to PostgreSQL works.{ignored}")


def pooler(pool: ConnectionPool) -> str:
    """What about the backend looks like another pooler: its host or its port; "" when nothing does.

    Neon: ep-…-pooler.…; Supabase: ….pooler.supabase.com, port 6543; CloudNativePG: the Service of a Pooler.
    """
    backend = pool.spec.backend
    if POOLERS & set(re.split("[-._]", backend.address.lower())):
        return f"host {backend.address}"
    return f"port {backend.port}" if backend.port in POOLER_PORTS else ""
