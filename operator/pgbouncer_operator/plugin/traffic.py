"""`kubectl pgbouncer pause` and `resume`: set spec.traffic, and wait until the status says that every pod follows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgbouncer_operator.api.conditions import ConditionType, Reason
from pgbouncer_operator.api.spec import PoolSpec, Traffic
from pgbouncer_operator.plugin.fields import at, condition
from pgbouncer_operator.plugin.findings import remedy
from pgbouncer_operator.plugin.kubectl import POOLS, Body, Kubectl, Scope
from pgbouncer_operator.plugin.waiting import Clock, until

SLACK = 15.0  # seconds beyond the longest pause until the command gives up
LONGEST = 3600  # the largest pauseTimeoutSeconds
_UNITS = {"": 1, "s": 1, "m": 60}
DIAGNOSE = "`kubectl pgbouncer doctor` says whether the operator runs."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did."""

    namespace: str
    """The pool's namespace."""
    name: str
    """The pool's name."""
    done: bool
    """Whether the pool is as the command wanted it."""
    reason: str
    """Why, in one word of the status; empty if the status says nothing of it."""
    messages: tuple[str, ...]
    """What happened, a sentence each."""


def seconds(text: str) -> int:
    """The seconds of a time such as 30s, 2m or 45. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,5})([sm]?)", text)
    number = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= number <= LONGEST:
        raise ValueError(f"give a time from 1s to {LONGEST}s, such as 30s or 2m")
    return number


def pause(kubectl: Kubectl, scope: Scope, name: str, length: int | None, clock: Clock) -> Outcome:
    """Pause a pool. length: seconds after which queries flow again by themselves; None: as the pool says.

    Raises KubectlError.
    """
    (before,) = kubectl.pools(scope, name)
    if condition(before, ConditionType.PAUSED).get("reason") == Reason.PAUSE_TIMED_OUT:
        return _outcome(before, False, "The last pause is over, but not ended: run `kubectl pgbouncer resume` first.")
    limit = length or int(at(before, "spec", "pauseTimeoutSeconds") or _default("pause_timeout_seconds"))
    wanted: Body = {"traffic": Traffic.PAUSED.value, **({"pauseTimeoutSeconds": length} if length else {})}
    patched = _patch(kubectl, before, wanted)
    after = until(clock, limit + SLACK, lambda: _followed(kubectl, patched, {Reason.PAUSED, Reason.PAUSE_TIMED_OUT}))
    notes = _about_length(before, limit, length)
    if after is None:
        return _late(kubectl, patched, notes)
    done = condition(after, ConditionType.PAUSED).get("reason") == Reason.PAUSED
    return _outcome(after, done, *notes)


def resume(kubectl: Kubectl, scope: Scope, name: str, clock: Clock) -> Outcome:
    """End the pause of a pool. Raises KubectlError."""
    (before,) = kubectl.pools(scope, name)
    patched = _patch(kubectl, before, {"traffic": Traffic.FLOWING.value})
    after = until(clock, SLACK, lambda: _followed(kubectl, patched, {Reason.FLOWING}))
    return _late(kubectl, patched, ()) if after is None else _outcome(after, True)


def _patch(kubectl: Kubectl, pool: Body, spec: Mapping[str, Any]) -> Body:
    return kubectl.merge(POOLS, pool["metadata"]["namespace"], pool["metadata"]["name"], {"spec": spec})


def _followed(kubectl: Kubectl, patched: Body, reasons: set[Reason]) -> Body | None:
    """The pool, once its status is about the patched spec and Paused has one of the reasons."""
    metadata = patched["metadata"]
    (now,) = kubectl.pools(Scope(metadata["namespace"]), metadata["name"])
    observed = at(now, "status", "observedGeneration") or 0
    reason = condition(now, ConditionType.PAUSED).get("reason")
    return now if observed >= metadata.get("generation", 0) and reason in reasons else None


def _late(kubectl: Kubectl, patched: Body, notes: tuple[str, ...]) -> Outcome:
    """The outcome of a pool whose status did not follow."""
    (now,) = kubectl.pools(Scope(patched["metadata"]["namespace"]), patched["metadata"]["name"])
    return _outcome(now, False, f"The status does not say so yet. {DIAGNOSE}", *notes)


def _outcome(pool: Body, done: bool, *notes: str) -> Outcome:
    """The outcome, with the words of the condition Paused."""
    paused = condition(pool, ConditionType.PAUSED)
    reason, message = str(paused.get("reason", "")), str(paused.get("message", ""))
    words = [message, *notes, "" if done else remedy(reason)]
    metadata = pool["metadata"]
    return Outcome(metadata["namespace"], metadata["name"], done, reason, tuple(filter(None, words)))


def _about_length(before: Body, limit: int, length: int | None) -> tuple[str, ...]:
    notes = []
    former = at(before, "spec", "pauseTimeoutSeconds") or _default("pause_timeout_seconds")
    if length and former != length:
        notes.append(f"spec.pauseTimeoutSeconds was {former} and is {length} from now on.")
    patience = at(before, "spec", "timeouts", "queryWaitSeconds")
    if patience is None:
        patience = PoolSpec.model_fields["timeouts"].default.query_wait_seconds
    if 0 < patience <= limit:
        notes.append(f"Clients that wait longer than timeouts.queryWaitSeconds ({patience}) get an error.")
    return tuple(notes)


def _default(field: str) -> int:
    return int(PoolSpec.model_fields[field].default)
