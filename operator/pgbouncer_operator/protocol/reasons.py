"""The values that the fields of /state may have. Pure."""

from enum import StrEnum
from typing import TypeVar

_Member = TypeVar("_Member", bound=StrEnum)


class Phase(StrEnum):
    """The stage of the pod's life: without a configuration, serving, or draining."""

    WAITING = "waiting"
    RUNNING = "running"
    DRAINING = "draining"


class ProblemReason(StrEnum):
    """What keeps the pod from doing all that it should."""

    CANDIDATE_REFUSED = "CandidateRefused"
    HALF_DELIVERED = "HalfDelivered"
    NO_GRANT = "NoGrant"
    RELOAD_FAILED = "ReloadFailed"
    VERIFY_FAILED = "VerifyFailed"
    CONSOLE_UNREACHABLE = "ConsoleUnreachable"
    PAUSE_TIMED_OUT = "PauseTimedOut"
    MOUNT_UNREADABLE = "MountUnreadable"
    CERTIFICATE_EXPIRED = "CertificateExpired"  # a mounted one; a valid one from before runs
    CLIENTS_LIMITED = "ClientsLimited"  # what the pool wants runs, with fewer clients


class BackendReason(StrEnum):
    """The result of a login to PostgreSQL."""

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
    """Whether clients' queries reach PostgreSQL. Paused means that every database is paused and none is busy."""

    FLOWING = "Flowing"
    PAUSED = "Paused"


def member(kind: type[_Member], text: str) -> _Member | str:
    """The member of that value; the text itself where an agent of another version names one that is not known here."""
    return next((each for each in kind if each == text), text)
