"""`kubectl pgbouncer doctor`: what is ill about pools, their servers and their operators, and what to do."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.plugin import operators
from pgbouncer_operator.plugin.fields import at
from pgbouncer_operator.plugin.findings import Diagnosis, Finding, Severity, of_object, remedy
from pgbouncer_operator.plugin.kubectl import SERVERS, Body, Kubectl, KubectlError, Scope
from pgbouncer_operator.plugin.waiting import Clock

EVENTS_MAX = 5  # of one pool
# What an event's reason asks for. Other events speak for themselves.
_OF_EVENTS = {"FailedCreate": Reason.PODS_REFUSED, "FailedScheduling": Reason.WAITING_FOR_PODS}


def diagnose(kubectl: Kubectl, scope: Scope, name: str | None, clock: Clock) -> list[Diagnosis]:
    """A diagnosis of each pool, of the servers that the pools use, and of the operators that serve them.

    Raises KubectlError if the pools cannot be read. What else cannot be read is a finding.
    """
    pools = kubectl.pools(scope, name)
    found = _with_events(kubectl, [_of(naming.KIND, body) for body in pools])
    servers = sorted({each for body in pools if (each := _server_of(body))})
    bodies: list[Body] = []
    for namespace, server in servers:
        try:
            bodies.append(kubectl.get(SERVERS, "--namespace", namespace, "--", server))
        except KubectlError as error:
            found.append(Diagnosis(naming.SERVER_KIND, namespace, server, (error.finding("status"),)))
    found += [_of(naming.SERVER_KIND, body) for body in bodies]
    serving = sorted({operators.serving(body) for body in (*pools, *bodies)} - {""})
    return [*found, *(operators.diagnose(kubectl, namespace, clock) for namespace in serving)]


def _of(kind: str, body: Mapping[str, Any]) -> Diagnosis:
    return Diagnosis(kind, body["metadata"]["namespace"], body["metadata"]["name"], of_object(body))


def _server_of(body: Mapping[str, Any]) -> tuple[str, str] | None:
    """Namespace and name of the PostgresServer that a pool uses."""
    reference = at(body, "spec", "backend", "serverRef")
    return (reference.get("namespace") or body["metadata"]["namespace"], reference["name"]) if reference else None


def _with_events(kubectl: Kubectl, pools: Sequence[Diagnosis]) -> list[Diagnosis]:
    """The diagnoses; those of ill pools with the warnings about their pods."""
    events: dict[str, Sequence[Body] | Finding] = {}
    for namespace in sorted({each.namespace for each in pools if each.ill}):
        try:
            events[namespace] = kubectl.items("events", "--namespace", namespace, "--field-selector=type=Warning")
        except KubectlError as error:
            events[namespace] = error.finding("events")
    found = []
    for each in pools:
        warnings = events[each.namespace] if each.ill else ()
        added = (warnings,) if isinstance(warnings, Finding) else of_events(each.name, warnings)
        found.append(replace(each, findings=(*each.findings, *added)))
    return found


def of_events(pool: str, events: Iterable[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """The newest warning of each reason about the pool's Deployment, its ReplicaSets and pods; the newest first."""
    newest: dict[tuple[str, str], Mapping[str, Any]] = {}
    for each in sorted(events, key=_time):
        about = each.get("involvedObject") or {}
        kind, reason = str(about.get("kind")), str(each.get("reason"))
        if _of_pool(pool, kind, str(about.get("name"))):
            newest.pop((kind, reason), None)
            newest[kind, reason] = each
    return tuple(_of_event(each) for each in [*newest.values()][: -EVENTS_MAX - 1 : -1])


def _of_event(event: Mapping[str, Any]) -> Finding:
    about, reason = event["involvedObject"], str(event.get("reason"))
    message = f"{event.get('message', '')} (last at {_time(event) or 'an unknown time'})"
    subject = f"{about['kind']} {about['name']}"
    return Finding(Severity.NOTE, subject, reason, message, remedy(_OF_EVENTS.get(reason, "")))


def _of_pool(pool: str, kind: str, name: str) -> bool:
    """Whether the object is a pool's Deployment, one of its ReplicaSets, or one of its pods, by its name."""
    endings = {"Deployment": "", "ReplicaSet": "-[a-z0-9]+", "Pod": "-[a-z0-9]+-[a-z0-9]+"}
    pattern = re.escape(naming.deployment(pool)) + endings.get(kind, "(?!)")
    return re.fullmatch(pattern, name) is not None


def _time(event: Mapping[str, Any]) -> str:
    """When it was seen last, as RFC 3339."""
    return str(at(event, "series", "lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")
