"""The end of the certificates that pods use: advice some days before, and a cause afterwards. Pure."""

from datetime import UTC, datetime

from pgbouncer_operator.protocol.reasons import ProblemReason
from pgbouncer_operator.reconcile.observed import Observed

SOON_SECONDS = 14 * 86400
SOON_PART = 5  # of its lifetime: certificates that live for a day are renewed within hours


def expired(observed: Observed) -> str:
    """Which certificate has ended, where, and what to do; empty while all that pods use and have mounted are valid."""
    now = _now(observed)
    for pod in observed.living:
        state = observed.states.get(pod.uid)
        for volume, validity in sorted(state.validities.items()) if state else ():
            if validity.ends <= now:
                return f"{_subject(observed, volume)} ended at {_date(validity.ends)} (pod {pod.name}). Renew it."
        for each in state.problems if state else ():
            if each.reason == ProblemReason.CERTIFICATE_EXPIRED:
                return f"Pod {pod.name}: {each.message}."
    return ""


def ends_soon(observed: Observed) -> str:
    """Which certificate ends within two weeks and the last fifth of its lifetime; empty without one."""
    now = _now(observed)
    for pod in observed.living:
        state = observed.states.get(pod.uid)
        for volume, validity in sorted(state.validities.items()) if state else ():
            soon = min(SOON_SECONDS, (validity.ends - validity.begins) / SOON_PART)
            if 0 < validity.ends - now < soon:
                return f"{_subject(observed, volume)} ends at {_date(validity.ends)}. Renew it before."
    return ""


def _subject(observed: Observed, volume: str) -> str:
    tls = observed.spec.spec.clients.tls
    if volume == "tls" and tls is not None:
        return f"The certificate for clients, in Secret {tls.secret_name},"
    if volume == "ca":
        server = observed.membership.server if observed.membership else ""
        return f"The CA of PostgresServer {server}" if server else "The CA that backend.tls.ca names"
    return f"The certificate in volume {volume}"


def _now(observed: Observed) -> float:
    return datetime.fromisoformat(observed.today).timestamp()


def _date(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
