"""What is not as it should be about an object, from its status, with the remedy and the runbook. Pure.

The words are those of the status. A newer operator may write words that are not known here: they are shown as they are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pgbouncer_operator.api.conditions import REMEDIES, ConditionType, Reason, is_well
from pgbouncer_operator.plugin.fields import at, conditions

# Where people read the runbooks: the default of the chart's value prometheusRule.runbooks.
RUNBOOKS = "https://github.com/pgbouncer-operator/pgbouncer-operator/blob/main/operator/docs/runbooks"
# The page of a reason or of an advice, otherwise of a condition. Each is named as the alert that fires for it.
PAGES: Mapping[str, str] = {
    Reason.CERTIFICATE_EXPIRED: "PgBouncerCertificateExpired",
    Reason.SECURITY_UPDATE: "PgBouncerPodsLackSecurityFixes",
    "OperatorAbsent": "PgBouncerOperatorAbsent",
    "CertificateEndsSoon": "PgBouncerCertificateEndsSoon",
    "ClientsNearLimit": "PgBouncerClientsNearLimit",
    "Starving": "PgBouncerPoolStarving",
    ConditionType.BACKEND_REACHABLE: "PgBouncerBackendDown",
    ConditionType.CONFIGURATION_APPLIED: "PgBouncerConfigurationNotApplied",
    ConditionType.LIMITS_KNOWN: "PgBouncerServerLimitsUnknown",
    ConditionType.STALLED: "PgBouncerPoolStalled",
    ConditionType.READY: "PgBouncerPoolNotReady",
}
_REMEDIES = {reason.value: text for reason, text in REMEDIES.items()}
SUMMARIES: tuple[str, ...] = (ConditionType.STALLED, ConditionType.READY)


class Severity(StrEnum):
    """How much a finding matters."""

    FAULT = "fault"  # something is ill
    NOTE = "note"  # worth knowing
    UNKNOWN = "unknown"  # it could not be read


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about an object that a person should know."""

    severity: Severity
    """How much it matters."""
    subject: str
    """What it is about, such as BackendReachable=False."""
    reason: str
    """Why, in one word."""
    message: str
    """Why, in a sentence."""
    remedy: str = ""
    """What to do; empty where the message says it."""
    runbook: str = ""
    """Address of the page about it; empty if there is none."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings about one object."""

    kind: str
    """ConnectionPool, PostgresServer or Operator."""
    namespace: str
    """The object's namespace."""
    name: str
    """The object's name."""
    findings: tuple[Finding, ...] = field(default=())
    """Faults first."""

    @property
    def ill(self) -> bool:
        """Whether it has a fault."""
        return any(each.severity is Severity.FAULT for each in self.findings)


def of_object(body: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Everything that a pool or a server says of itself: faults, then notes."""
    return (*faults(body), *_under_way(body), *_advice(body), *_unobserved(body))


def faults(body: Mapping[str, Any]) -> tuple[Finding, ...]:
    """A finding for each condition that is not as it should be. A summary that only repeats another is left out."""
    ill = [each for each in conditions(body) if not _well(each) and each.get("type") != ConditionType.RECONCILING]
    found: list[Finding] = []
    for each in sorted(ill, key=_rank):
        finding = of_condition(each, Severity.FAULT)
        if each.get("type") not in SUMMARIES or not _repeats(finding, found):
            found.append(finding)
    return tuple(found)


def of_condition(each: Mapping[str, Any], severity: Severity) -> Finding:
    """The finding of one condition."""
    kind, reason = str(each.get("type", "")), str(each.get("reason", ""))
    subject = f"{kind}={each.get('status', 'Unknown')}"
    return Finding(severity, subject, reason, str(each.get("message", "")), remedy(reason), runbook(reason, kind))


def remedy(reason: str) -> str:
    """What to do about a reason; empty for one that is not known here."""
    return _REMEDIES.get(reason, "")


def runbook(*subjects: str) -> str:
    """Address of the first subject's page that there is, or empty."""
    page = next((PAGES[each] for each in subjects if each in PAGES), "")
    return f"{RUNBOOKS}/{page}.md" if page else ""


def _well(each: Mapping[str, Any]) -> bool:
    return is_well(str(each.get("type")), str(each.get("status")), str(each.get("reason")))


def _rank(each: Mapping[str, Any]) -> int:
    """Causes, then summaries."""
    kind = str(each.get("type"))
    return 1 + SUMMARIES.index(kind) if kind in SUMMARIES else 0


def _repeats(finding: Finding, others: Iterable[Finding]) -> bool:
    return any((each.reason, each.message) == (finding.reason, finding.message) for each in others)


def _under_way(body: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Conditions that are no fault: work in progress, a pause, a newer pod template."""
    kinds = (ConditionType.RECONCILING, ConditionType.PAUSED, ConditionType.UPDATE_AVAILABLE)
    return tuple(
        of_condition(each, Severity.NOTE)
        for each in conditions(body)
        if each.get("type") in kinds and each.get("status") == "True" and _well(each)
    )


def _advice(body: Mapping[str, Any]) -> tuple[Finding, ...]:
    found = at(body, "status", "advice") or ()
    return tuple(_of_advice(str(each.get("reason", "")), str(each.get("message", ""))) for each in found)


def _of_advice(reason: str, message: str) -> Finding:
    return Finding(Severity.NOTE, "advice", reason, message, runbook=runbook(reason))


def _unobserved(body: Mapping[str, Any]) -> tuple[Finding, ...]:
    """The status is about an earlier spec."""
    generation, observed = at(body, "metadata", "generation"), at(body, "status", "observedGeneration")
    if generation is None or observed is None or generation == observed:
        return ()
    message = f"The status is about generation {observed}, and the spec has generation {generation}."
    return (Finding(Severity.NOTE, "observedGeneration", "Pending", message, remedy(Reason.PENDING)),)
