"""Whether the operator that serves an object runs: its lease says so."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.plugin.fields import at
from pgbouncer_operator.plugin.findings import Diagnosis, Finding, Severity, runbook
from pgbouncer_operator.plugin.kubectl import LEASES, Kubectl, KubectlError
from pgbouncer_operator.plugin.waiting import Clock

DURATION = 15  # seconds that a lease holds, where it does not say so
ABSENT = "OperatorAbsent"
_LOOK = "Look at the operator's pods: `kubectl get pods -n {}`; pools serve on, but changes wait."


def serving(body: Mapping[str, Any]) -> str:
    """Namespace of the operator that serves an object; empty if none has said so. Another one may have asked for it."""
    return str(at(body, "status", "operator") or "").partition(" ")[0]


def diagnose(kubectl: Kubectl, namespace: str, clock: Clock) -> Diagnosis:
    """Whether the operator of this namespace runs. Waits as long as a lease holds, if the lease seems to be old.

    The lease has the time of another machine. So an old time is only a reason to look whether it changes.
    """
    try:
        lease = _read(kubectl, namespace)
        if not _fresh(lease, clock.now()):
            clock.sleep(float(at(lease, "spec", "leaseDurationSeconds") or DURATION))
            now = _read(kubectl, namespace)
            found = _absent(namespace, now) if _renewed(now) in (None, _renewed(lease)) else ()
        else:
            found = ()
    except KubectlError as error:
        if error.reason == "NotFound":
            message = f"There is no lease {naming.LEASE_NAME}, as with one operator without leader election."
            found = (Finding(Severity.UNKNOWN, "lease", "NotFound", message, _LOOK.format(namespace)),)
        else:
            found = (error.finding("lease"),)
    return Diagnosis("Operator", namespace, naming.LEASE_NAME, found)


def _read(kubectl: Kubectl, namespace: str) -> Mapping[str, Any]:
    return kubectl.get(LEASES, "--namespace", namespace, "--", naming.LEASE_NAME)


def _renewed(lease: Mapping[str, Any]) -> tuple[str, str] | None:
    """Who renewed the lease when; None if nobody holds it."""
    holder = at(lease, "spec", "holderIdentity")
    return (holder, str(at(lease, "spec", "renewTime"))) if holder else None


def _fresh(lease: Mapping[str, Any], now: datetime) -> bool:
    renewed = _renewed(lease)
    try:
        age = (now - datetime.fromisoformat(renewed[1])).total_seconds() if renewed else None
    except ValueError:
        return False
    return age is not None and abs(age) <= float(at(lease, "spec", "leaseDurationSeconds") or DURATION)


def _absent(namespace: str, lease: Mapping[str, Any]) -> tuple[Finding, ...]:
    renewed = _renewed(lease)
    message = f"Nobody renews the lease; the last time was {renewed[1]}." if renewed else "Nobody holds the lease."
    page = runbook(ABSENT)
    return (Finding(Severity.FAULT, "lease", ABSENT, message, _LOOK.format(namespace), page),)
