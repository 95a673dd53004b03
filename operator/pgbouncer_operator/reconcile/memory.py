"""What a pool's reconcile remembers until its next. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.status import How
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.resources.backend_secret import ServerFromSecret
from pgbouncer_operator.sizing.demand import CALM, Decision, SizingState

ChildKey = tuple[str, str]  # kind, name
IDLE = 3600.0  # seconds without any use
ASK_AGAIN = 5.0  # seconds until the API server is asked again for a lost pod that exists, or after a failed read


class Presence(StrEnum):
    """Whether the object of a pod exists that the watch of pods no longer brings."""

    EXISTS = "exists"
    ENDED = "ended"  # it exists, and kubelet has said that it runs nothing any more
    GONE = "gone"
    UNKNOWN = "unknown"  # the read failed


@dataclass(frozen=True, slots=True)
class LostPod:
    """A pod of a ledger that the watch of pods no longer brings, as the API server answered for it."""

    name: str
    """Its name; empty while unknown."""
    presence: Presence
    """Whether it exists."""
    at: float
    """When that was read, in monotonic seconds. For a pod that is gone this is the first such answer."""
    error: str = ""
    """Why the read failed; empty when it did not."""
    forbidden: bool = False
    """Whether the read failed because the operator has no right to it."""
    unlabelled: PodView | None = None
    """The pod, where it exists without the pool's label and no other controller owns it; else None."""

    @property
    def over(self) -> bool:
        """Whether the answer is final."""
        return self.presence in {Presence.GONE, Presence.ENDED}

    def left(self, now: float, sessions: int) -> float:
        """Seconds until the next news: until its sessions are over, or until it is asked for again.

        0 or less once its sessions are over by this process's own clock. now: monotonic seconds. sessions: seconds for
        which PostgreSQL may count sessions of a pod that is gone.
        """
        if self.presence is Presence.ENDED:
            return 0.0
        if self.presence is Presence.GONE:
            return self.at + sessions - now
        return max(self.at + ASK_AGAIN - now, 0.1)


@dataclass(frozen=True, slots=True)
class Missing:
    """What a pool needs and cannot have: a user's Secret, or its place at a PostgresServer."""

    reason: Reason
    """The reason for the condition."""
    message: str
    """A sentence with the remedy, without any secret value."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change on its way to the pods."""

    what: str
    """What changed, in the words of status.lastChange."""
    how: How
    """How it travels."""
    since: float
    """When it began, in monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that cannot succeed as it is."""

    reason: Reason
    """The reason for the condition."""
    message: str
    """A sentence with what the API server answered."""
    at: float
    """When the write was tried, in monotonic seconds."""


@dataclass(frozen=True, slots=True)
class SecretsRead:
    """The last read of the users' Secrets, and what came of it."""

    at: float
    """When they were read, in monotonic seconds."""
    asked: str
    """What the spec wanted of Secrets then (`secret_inputs`). Another value causes a read."""
    missing: Missing | None
    """What was missing; None when all was there."""
    mounted: Mapping[tuple[str, str], str]
    """By (pod UID, handle), the generation of the Secret that the pod had mounted when first observed. Another
    generation means that the Secret has changed.
    """
    version: str = ""
    """Names the content of the Secrets then, for pods that get their first configuration without a read."""
    refresh: str = ""
    """The pool's annotation for a refresh then. Another value causes a read."""
    contents: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By handle, a hash of login and password. It leaves this process nowhere."""
    owed: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """By (pod UID, handle), the generation that the pod has mounted of a Secret whose content has changed since:
    kubelet still has to bring the new one.
    """


@dataclass(frozen=True, slots=True)
class ServerRead:
    """The last read of the Secret that names the pool's server, and what came of it."""

    at: float
    """When it was read, in monotonic seconds."""
    asked: str
    """What the spec wanted of the Secret then. Another value causes a read."""
    refresh: str
    """The pool's annotation for a refresh then. Another value causes a read."""
    found: ServerFromSecret | None
    """The server; that of an earlier read while there is none now. None before the first."""
    missing: Missing | None = None
    """What was missing; None when all was there."""

    @property
    def content(self) -> tuple[ServerFromSecret | None, Missing | None]:
        """What came of it."""
        return self.found, self.missing


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate configuration that one pod tries or has tried (see `rollout.canary`). Times are monotonic seconds."""

    digest: str
    """Hash of the candidate."""
    inputs: tuple[int, str]
    """Generation of the spec and version of the Secrets. Other values cause a new try at once."""
    since: float
    """When this try began."""
    failures: int = 0
    """Failed tries so far."""
    again: float | None = None
    """When to try again; None while a try is under way."""
    reason: Reason | None = None
    """The reason of the last failure; None before one."""
    message: str = ""
    """A sentence about the last failure."""
    sound: bool = False
    """Whether a login to PostgreSQL worked before."""


@dataclass(frozen=True, slots=True)
class MeasuredDemand:
    """What the pods did, as far as it was measured. Without it, growth is a minute late and shrinking some minutes."""

    at: float
    """When all pods last answered, in monotonic seconds."""
    clients: int
    """Replicas that the client workloads were about to have then."""
    states: Mapping[str, AgentState]
    """What each pod answered then, by pod UID."""
    sizing: SizingState
    """The state of the sizing."""
    decision: Decision | None = None
    """The last decision; None before the first window."""
    quiet_since: float = 0.0
    """Since when no use was measured, in monotonic seconds."""
    held_back: bool = False
    """Whether queries were paused then."""

    @property
    def highest(self) -> int:
        """Server connections that the demand of the last minutes asked for at most."""
        return max((want for _, want in self.sizing.wants), default=0)

    @property
    def young(self) -> bool:
        """Whether the measured time is too short to advise a smaller size."""
        windows = self.sizing.windows
        return not windows or windows[-1].at - windows[0].at < CALM

    @property
    def idle(self) -> bool:
        """Whether the pool has been unused for so long that its owner should know."""
        return self.at - self.quiet_since >= IDLE

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """What of it changes a status: not that an idle pool has been idle a little longer."""
        return self.decision, self.highest, self.young, self.idle


@dataclass(frozen=True, slots=True)
class Memory:
    """What outlives a reconcile but not the process. Without it a poke is repeated or a duration is missing, no more.
    Times are monotonic seconds.
    """

    poked: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    """By pod UID, the value of the poke annotation and when it was written."""
    refusals: Mapping[ChildKey, Refusal] = field(default_factory=dict)
    """Writes that cannot succeed, by the object's kind and name."""
    change: Change | None = None
    """The change on its way; None at rest."""
    pending_since: float | None = None
    """Since when a change waits for its pods; None at rest."""
    figures_at: float | None = None
    """When the figures of the status were last written."""
    reading: SecretsRead | None = None
    """The last read of the users' Secrets; None before the first."""
    server: ServerRead | None = None
    """The last read of the Secret that names the server; None before the first, and where the spec names none."""
    connection_secrets: tuple[str, ...] = ()
    """Names of the pool's connection Secrets, until its status lists them."""
    endpoints: str = ""
    """The last `endpoints.token`, for pods that have none yet."""
    moved: float | None = None
    """When the Service that the pool connects to led elsewhere, the last time; None before the first."""
    trial: Trial | None = None
    """The candidate that a pod tries or has tried; None without one."""
    demand: MeasuredDemand | None = None
    """What the pods did; None before the first answers."""
    waiting_since: float | None = None
    """Since when the pool waits for its PostgresServer; None while it does not."""
    arrived: Mapping[str, float | None] = field(default_factory=dict)
    """By pod UID, since when the pod runs the new host and port of its PostgresServer; None once it has left others."""
