"""The document of GET /state: what an agent reports about its pod. The agent writes it, the operator reads it.

No secret is in it. An operator reads the documents of older and of newer agents: keys that are absent have defaults,
unknown keys are ignored, and an unknown reason or phase stays the text that it is.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

from pgbouncer_operator.protocol import validity
from pgbouncer_operator.protocol.document import PROTOCOL
from pgbouncer_operator.protocol.reasons import BackendReason, Flow, Phase, ProblemReason, ReloadKind, member
from pgbouncer_operator.protocol.validity import CertificateValidity

MOST = 2**53  # the largest of all counts: JSON's readers keep it exact; in microseconds it is 285 years
OLDEST = 86_400  # seconds; the age of figures that are older, or that were never read
MOST_ROLES = 10  # that a document names
ROLE_MAX = 63  # characters of a role's name: PostgreSQL has no longer one
STALE = 3  # seconds; figures that are so old say nothing of now
_TOTALS = ("transactions", "transactionMicroseconds", "waitMicroseconds")  # keys in the order of Totals' fields


@dataclass(frozen=True, slots=True)
class AgentProblem:
    """One thing that is wrong. The message says what, where, and what to do about it."""

    reason: ProblemReason | str
    message: str


@dataclass(frozen=True, slots=True)
class BackendTest:
    """The result of the last login to PostgreSQL."""

    reason: BackendReason | str = BackendReason.UNKNOWN
    message: str = ""
    """PostgreSQL's own error message; empty when the login works."""

    @property
    def ok(self) -> bool | None:
        """Whether a login works; None before the first one."""
        return None if self.reason == BackendReason.UNKNOWN else self.reason == BackendReason.OK


@dataclass(frozen=True, slots=True)
class Reload:
    """The last configuration that came into force."""

    digest: str
    seconds: float
    """From the moment that the agent read the configuration to the moment that it was verified."""
    kind: ReloadKind | str


@dataclass(frozen=True, slots=True)
class Totals:
    """What a PgBouncer did since it started.

    PgBouncer counts the wait for a server connection as time in the transaction, and both when they end.
    """

    transactions: int
    transaction_microseconds: int
    wait_microseconds: int

    @property
    def transaction_seconds(self) -> float:
        """Time in transactions, the wait for a server connection included."""
        return self.transaction_microseconds / 1e6

    @property
    def wait_seconds(self) -> float:
        """Time that clients waited for a server connection."""
        return self.wait_microseconds / 1e6

    def since(self, earlier: "Totals") -> "Totals":
        """The difference to `earlier`. A counter that fell belongs to a new process, which counts from 0."""
        grown = [now - then for now, then in zip(astuple(self), astuple(earlier), strict=True)]
        return self if any(each < 0 for each in grown) else Totals(*grown)


@dataclass(frozen=True, slots=True)
class UserState:
    """Whether a user's Secret can be used."""

    ok: bool | None
    """None when the document does not say."""
    message: str
    """What is wrong and what to do about it; empty when nothing is."""
    generation: str
    """Names the mounted content of the Secret; other content has another name."""


@dataclass(frozen=True, slots=True)
class AgentState:
    """Everything that an agent reports about its pod."""

    uid: str
    """The pod's uid; empty before the downward API's volume is mounted."""
    version: str
    """Version of the agent."""
    pgbouncer: str = ""
    """Version of PgBouncer; empty before its console has answered."""
    phase: Phase | str = Phase.WAITING
    """What the pod does now; a text for a phase that this reader does not know."""
    digest: str = ""
    """Hash of the intent that is applied and verified; empty before the first. `hash` in the document."""
    seq: int = 0
    """Sequence of the ledger that is applied and verified."""
    cap: int = 0
    """The most server connections that the pod may open: a raised grant at once, a lowered one once it is kept."""
    keeps: int | None = None
    """The most server connections that a leaving pod may have from now on, whatever a ledger says.

    None while the pod does not leave, and until PgBouncer runs under the lower limits.
    """
    open: int = 0
    """Server connections."""
    busy: int = 0
    """Server connections that are not idle."""
    waiting: int = 0
    """Clients that wait for a server connection."""
    clients: int = 0
    """Clients that are connected."""
    clients_max: int | None = None
    """The most clients that the pod accepts; None before its first configuration, and from an older agent."""
    totals: Totals | None = None
    """None while PgBouncer's console does not answer."""
    problems: tuple[AgentProblem, ...] = ()
    """What keeps the agent from applying its documents; empty when nothing does."""
    users: Mapping[str, UserState] = field(default_factory=dict)
    """By handle (`users[].name`)."""
    certificates: Mapping[str, str] = field(default_factory=dict)
    """Generations of the mounted certificates by volume, `ca` and `tls`; see `UserState.generation`."""
    validities: Mapping[str, CertificateValidity] = field(default_factory=dict)
    """Validity of the certificates in use by volume, `ca` and `tls`; without those that could not be read."""
    backend: BackendTest = BackendTest()
    """The last test of a login to PostgreSQL."""
    md5_roles: tuple[str, ...] = ()
    """Looked-up roles whose passwords PostgreSQL stores as md5, at most MOST_ROLES. PgBouncer cannot let them in."""
    reload: Reload | None = None
    """None before the first configuration is in force."""
    traffic: Flow | str = Flow.FLOWING
    """Whether queries flow; a text for a state that this reader does not know."""
    lingering: tuple[str, ...] = ()
    """Databases that are removed and still have clients."""
    reconnected: str = ""
    """Token of the last reconnect, or the one that the agent saw first."""
    age: int = 0
    """Seconds since PgBouncer was asked for what this document says of its connections and limits; at most OLDEST.

    0 where an agent does not say it: it answers with figures of now, or not at all.
    """
    candidates: bool = True
    """Whether the agent can try a candidate configuration; an agent that writes no `lingering` cannot."""

    @property
    def stale(self) -> bool:
        """Whether PgBouncer has not answered for so long that its connections and limits are unknown."""
        return self.age >= STALE

    def used_since(self, earlier: "AgentState", grown: Totals, seconds: float) -> float:
        """Mean server connections in use in the `seconds` since `earlier`, in which the totals grew by `grown`.

        The totals count a transaction when it ends. So the result is at most the connections that were open, and at
        least those that were busy at both ends of a long transaction.
        """
        worked = max(0.0, grown.transaction_seconds - grown.wait_seconds) / seconds
        return max(min(worked, max(self.open, earlier.open)), min(self.busy, earlier.busy))

    def to_json(self) -> str:
        """The document: one line, keys sorted."""
        document = {
            "protocol": PROTOCOL,
            "uid": self.uid,
            "version": self.version,
            "pgbouncer": self.pgbouncer or None,
            "phase": self.phase,
            "hash": self.digest or None,
            "seq": self.seq,
            "cap": self.cap,
            "keeps": self.keeps,
            "open": self.open,
            "busy": self.busy,
            "waiting": self.waiting,
            "clients": self.clients,
            "clientsMax": self.clients_max,
            "totals": None if self.totals is None else dict(zip(_TOTALS, astuple(self.totals), strict=True)),
            "problems": [asdict(each) for each in self.problems],
            "users": {handle: asdict(each) for handle, each in self.users.items()},
            "certificates": dict(self.certificates),
            "validities": {volume: asdict(each) for volume, each in self.validities.items()},
            "backend": {"ok": self.backend.ok, "reason": self.backend.reason, "message": self.backend.message},
            "md5Roles": list(self.md5_roles),
            "traffic": self.traffic,
            "lingering": list(self.lingering),
            "reconnected": self.reconnected,
            "age": self.age,
            "reload": self.reload
            and {"hash": self.reload.digest, "seconds": round(self.reload.seconds, 4), "kind": self.reload.kind},
        }
        return json.dumps(document, sort_keys=True, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str, uid: str) -> "AgentState | None":
        """The state of the pod `uid`. None, unknown, when `text` cannot be read or is another pod's.

        Another pod answers where Kubernetes has given an address to a new pod.
        """
        try:
            document = json.loads(text, parse_constant=_refuse)
            return _read(document) if document["uid"] == uid else None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return None


def _read(document: Mapping[str, Any]) -> AgentState:
    return AgentState(
        uid=str(document["uid"]),
        version=_text(document, "version"),
        pgbouncer=_text(document, "pgbouncer"),
        phase=member(Phase, str(document["phase"])),
        digest=_text(document, "hash"),
        seq=_integer(document["seq"]),
        cap=_integer(document["cap"]),
        keeps=None if document.get("keeps") is None else _integer(document["keeps"]),
        open=_integer(document["open"]),
        busy=_integer(document.get("busy")),
        waiting=_integer(document.get("waiting")),
        clients=_integer(document.get("clients")),
        clients_max=_integer(document.get("clientsMax")) or None,
        totals=_totals(document.get("totals")),
        problems=tuple(_problem(each) for each in document.get("problems") or ()),
        users={str(handle): _user(each) for handle, each in (document.get("users") or {}).items()},
        certificates={str(volume): str(each) for volume, each in (document.get("certificates") or {}).items()},
        validities=validity.read(document.get("validities")),
        backend=_backend(document.get("backend") or {}),
        md5_roles=tuple(str(each)[:ROLE_MAX] for each in (document.get("md5Roles") or ())[:MOST_ROLES]),
        reload=_reload(document.get("reload")),
        traffic=member(Flow, _text(document, "traffic") or Flow.FLOWING),
        lingering=tuple(str(each) for each in document.get("lingering") or ()),
        reconnected=_text(document, "reconnected"),
        age=_integer(document.get("age")),
        candidates="lingering" in document,
    )


def _totals(document: Mapping[str, Any] | None) -> Totals | None:
    return Totals(*(_integer(document[key]) for key in _TOTALS)) if document else None


def _problem(document: Mapping[str, Any]) -> AgentProblem:
    return AgentProblem(member(ProblemReason, _text(document, "reason")), _text(document, "message"))


def _user(document: Mapping[str, Any]) -> UserState:
    ok = document.get("ok")
    return UserState(None if ok is None else bool(ok), _text(document, "message"), _text(document, "generation"))


def _backend(document: Mapping[str, Any]) -> BackendTest:
    """`ok` decides: a failed login has a reason that says so, whatever the document names."""
    ok, reason = document.get("ok"), member(BackendReason, _text(document, "reason"))
    if ok is None:
        reason = BackendReason.UNKNOWN
    elif ok:
        reason = BackendReason.OK
    elif reason in {"", BackendReason.OK, BackendReason.UNKNOWN}:
        reason = BackendReason.UNREACHABLE
    return BackendTest(reason, _text(document, "message"))


def _reload(document: Mapping[str, Any] | None) -> Reload | None:
    if not document:
        return None
    kind = member(ReloadKind, _text(document, "kind"))
    seconds = float(document.get("seconds") or 0)
    if not 0 <= seconds <= MOST:
        raise ValueError(seconds)
    return Reload(_text(document, "hash"), seconds, kind)


def _integer(value: Any) -> int:
    """A count. ValueError when no agent can have counted that: arithmetic with it would fail."""
    found = int(value or 0)
    if not 0 <= found <= MOST:
        raise ValueError(found.bit_length())
    return found


def _refuse(name: str) -> float:
    """NaN and Infinity, which Python's JSON has and JSON has not."""
    raise ValueError(name)


def _text(document: Mapping[str, Any], key: str) -> str:
    return str(document.get(key) or "")
