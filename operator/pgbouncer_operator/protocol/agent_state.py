"""What a pod's agent says of itself at /state, as a value. Pure.

A document that is not of the expected pod, or cannot be read, is no state at all: unknown, never absent.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """What the agent found out about a user or the backend. ok is None while it does not know."""

    ok: bool | None
    reason: str = ""
    message: str = ""
    generation: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """What PgBouncer did since it started. The time in transactions includes the wait for a server."""

    transactions: int
    transaction_seconds: float
    wait_seconds: float

    def since(self, earlier: "Totals") -> "Totals":
        """What was added; counters that fell belong to a new process or pool, and count from 0."""
        mine = (self.transactions, self.transaction_seconds, self.wait_seconds)
        theirs = (earlier.transactions, earlier.transaction_seconds, earlier.wait_seconds)
        if any(now < before for now, before in zip(mine, theirs, strict=True)):
            return self
        return Totals(mine[0] - theirs[0], mine[1] - theirs[1], mine[2] - theirs[2])


@dataclass(frozen=True, slots=True)
class AgentState:
    """One pod's own word. Counts are connections; seq and hash are what it has applied and verified.

    traffic: Paused when every database is. lingering: databases and users on their way out. reconnected: the token by
    which it last renewed its server connections. certificates: generations of the mounts of ca and tls, which change
    with their content. totals: None while PgBouncer is silent. An agent of an older version says nothing of these.
    """

    uid: str
    phase: str
    digest: str
    seq: int
    cap: int
    open: int
    busy: int
    waiting: int
    clients: int
    problems: tuple[Finding, ...]
    users: Mapping[str, Finding]
    backend: Finding
    pgbouncer: str
    reload_kind: str
    reload_seconds: float
    traffic: str = "Flowing"
    lingering: tuple[str, ...] = ()
    reconnected: str = ""
    candidates: bool = True
    certificates: Mapping[str, str] = field(default_factory=dict)
    totals: Totals | None = None

    def used_since(self, earlier: "AgentState", grown: Totals, seconds: float) -> float:
        """Mean connections in use in the seconds since that word, in which the totals have grown by so much.

        busy = (time in transactions - time waiting for a server) / time: PgBouncer counts the wait as transaction time.
        Both are counted when they end. So a pod is never thought to have used more connections than it had open, nor
        fewer than were busy at both ends: long transactions.
        """
        worked = max(0.0, grown.transaction_seconds - grown.wait_seconds) / seconds
        return max(min(worked, max(self.open, earlier.open)), min(self.busy, earlier.busy))


def parse(text: str, uid: str) -> AgentState | None:
    """The state of the pod with that uid; None when the text is another pod's (addresses are reused) or unreadable."""
    try:
        document = json.loads(text)
        if document["uid"] != uid:
            return None
        return _read(document)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _read(document: Mapping[str, Any]) -> AgentState:
    reload = document.get("reload") or {}
    return AgentState(
        uid=str(document["uid"]),
        phase=str(document["phase"]),
        digest=str(document.get("hash") or ""),
        seq=int(document["seq"] or 0),
        cap=int(document["cap"] or 0),
        open=int(document["open"] or 0),
        busy=int(document.get("busy") or 0),
        waiting=int(document.get("waiting") or 0),
        clients=int(document.get("clients") or 0),
        problems=tuple(_finding({"ok": False, **each}) for each in document.get("problems") or ()),
        users={str(name): _finding(each) for name, each in (document.get("users") or {}).items()},
        backend=_finding(document.get("backend") or {}),
        pgbouncer=str(document.get("pgbouncer") or ""),
        reload_kind=str(reload.get("kind") or ""),
        reload_seconds=float(reload.get("seconds") or 0),
        traffic=str(document.get("traffic") or "Flowing"),
        lingering=tuple(str(each) for each in document.get("lingering") or ()),
        reconnected=str(document.get("reconnected") or ""),
        candidates="lingering" in document,
        certificates={str(name): str(each) for name, each in (document.get("certificates") or {}).items()},
        totals=_totals(document.get("totals")),
    )


def _totals(document: Mapping[str, Any] | None) -> Totals | None:
    if not document:
        return None
    return Totals(
        transactions=int(document["transactions"]),
        transaction_seconds=int(document["transactionMicroseconds"]) / 1e6,
        wait_seconds=int(document["waitMicroseconds"]) / 1e6,
    )


def _finding(document: Mapping[str, Any]) -> Finding:
    ok = document.get("ok")
    return Finding(
        ok=None if ok is None else bool(ok),
        reason=str(document.get("reason") or ""),
        message=str(document.get("message") or ""),
        generation=str(document.get("generation") or ""),
    )
