"""What the agent tells: one frozen value, and its JSON for the operator. No secret is ever in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

PROTOCOL = 1


class Phase(StrEnum):
    """Where the pod stands: without a configuration, serving, or on its way out."""

    WAITING = "waiting"
    RUNNING = "running"
    DRAINING = "draining"


class ProblemReason(StrEnum):
    """Why the pod does not do what it was told; what it did before goes on."""

    CANDIDATE_REFUSED = "CandidateRefused"
    HALF_DELIVERED = "HalfDelivered"
    NO_GRANT = "NoGrant"
    RELOAD_FAILED = "ReloadFailed"
    VERIFY_FAILED = "VerifyFailed"
    CONSOLE_UNREACHABLE = "ConsoleUnreachable"
    PAUSE_TIMED_OUT = "PauseTimedOut"


class BackendReason(StrEnum):
    """What a login to PostgreSQL came to."""

    UNKNOWN = "Unknown"
    OK = "Ok"
    HOST_NOT_RESOLVED = "HostNotResolved"
    UNREACHABLE = "BackendUnreachable"
    WITHOUT_TLS = "BackendWithoutTls"
    CERTIFICATE_INVALID = "BackendCertificateInvalid"
    REFUSED_LOGIN = "BackendRefusedLogin"
    DATABASE_MISSING = "BackendDatabaseMissing"
    FULL = "BackendIsFull"
    READ_ONLY = "BackendReadOnly"


class ReloadKind(StrEnum):
    """How a configuration came into force."""

    START = "start"
    RELOAD = "reload"
    RECONNECT = "reconnect"


class Flow(StrEnum):
    """What becomes of clients' transactions: Paused only when every database rests."""

    FLOWING = "Flowing"
    PAUSED = "Paused"


@dataclass(frozen=True, slots=True)
class AgentProblem:
    """One thing that is wrong: what, where, what to do."""

    reason: ProblemReason
    message: str


@dataclass(frozen=True, slots=True)
class BackendTest:
    """The last test of PostgreSQL. ok is None before the first; message holds PostgreSQL's own words."""

    reason: BackendReason = BackendReason.UNKNOWN
    message: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether a login works; None when nobody has tried."""
        return None if self.reason is BackendReason.UNKNOWN else self.reason is BackendReason.OK


@dataclass(frozen=True, slots=True)
class Reload:
    """The last configuration that came into force: its hash, and the seconds from reading it to its proof."""

    hash: str
    seconds: float
    kind: ReloadKind


@dataclass(frozen=True, slots=True)
class Totals:
    """What this PgBouncer did since it started. Microseconds; time in transactions includes the wait for a server."""

    transactions: int
    transaction_microseconds: int
    wait_microseconds: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Connections of this PgBouncer now. open, busy: to PostgreSQL. waiting, clients: of applications."""

    open: int = 0
    busy: int = 0
    waiting: int = 0
    clients: int = 0
    totals: Totals | None = None


@dataclass(frozen=True, slots=True)
class Drained:
    """What became of the clients of a pod that drains: see drain.py. done: nothing more will."""

    left: int
    closed: int
    cut: int
    seconds: float
    done: bool

    def __str__(self) -> str:
        """The line of the log."""
        return (
            f"drained in {self.seconds:.1f} s: {self.left} clients left by themselves, "
            f"{self.closed} closed at a transaction boundary, {self.cut} cut"
        )


@dataclass(frozen=True, slots=True)
class UserState:
    """Whether a user's Secret can be used; see mounts.MountedUser."""

    ok: bool
    message: str
    generation: str


@dataclass(frozen=True, slots=True)
class State:
    """Everything the agent knows of its pod. hash, seq: applied and verified, not merely wanted.

    cap: the most server connections the pod may act on: a raised one at once, a lowered one when it is kept to.
    certificates: the generations of the mounts of ca and tls, which change when their content does.
    drained: for the metrics; not in the document.
    reconnected: the last token at which every server connection was renewed, or the one seen first.
    """

    uid: str
    version: str
    pgbouncer: str | None = None
    phase: Phase = Phase.WAITING
    hash: str | None = None
    seq: int = 0
    cap: int = 0
    figures: Figures = Figures()
    problems: tuple[AgentProblem, ...] = ()
    users: Mapping[str, UserState] = field(default_factory=dict)
    certificates: Mapping[str, str] = field(default_factory=dict)
    backend: BackendTest = BackendTest()
    reload: Reload | None = None
    traffic: Flow = Flow.FLOWING
    lingering: tuple[str, ...] = ()
    reconnected: str = ""
    drained: Drained | None = None

    def to_json(self) -> str:
        """The document of GET /state, keys sorted."""
        document = {
            "protocol": PROTOCOL,
            "uid": self.uid,
            "version": self.version,
            "pgbouncer": self.pgbouncer,
            "phase": self.phase,
            "hash": self.hash,
            "seq": self.seq,
            "cap": self.cap,
            "open": self.figures.open,
            "busy": self.figures.busy,
            "waiting": self.figures.waiting,
            "clients": self.figures.clients,
            "totals": None
            if self.figures.totals is None
            else {
                "transactions": self.figures.totals.transactions,
                "transactionMicroseconds": self.figures.totals.transaction_microseconds,
                "waitMicroseconds": self.figures.totals.wait_microseconds,
            },
            "problems": [{"reason": each.reason, "message": each.message} for each in self.problems],
            "users": {
                name: {"ok": each.ok, "message": each.message, "generation": each.generation}
                for name, each in self.users.items()
            },
            "certificates": dict(self.certificates),
            "backend": {"ok": self.backend.ok, "reason": self.backend.reason, "message": self.backend.message},
            "traffic": self.traffic,
            "lingering": list(self.lingering),
            "reconnected": self.reconnected,
            "reload": None
            if self.reload is None
            else {"hash": self.reload.hash, "seconds": round(self.reload.seconds, 4), "kind": self.reload.kind},
        }
        return json.dumps(document, sort_keys=True, ensure_ascii=False) + "\n"
