"""The shape of a row in the catalogue of PgBouncer's settings. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Type(StrEnum):
    """How PgBouncer parses a value. It checks no ranges, so every bound here is ours."""

    STR = "string"
    INT = "integer"
    TIME = "seconds"  # decimal, fractions allowed, no unit
    BOOL = "0 or 1"
    ENUM = "word"
    CSV = "list"  # words with commas between


class ChangeClass(StrEnum):
    """How a change reaches running pods."""

    RELOAD = "reload"
    RELOAD_RECONNECT = "reload and reconnect"  # server connections are renewed between transactions
    ROLL = "roll"  # pods are replaced: PgBouncer ignores the change on a reload


class Audience(StrEnum):
    """Who may set it."""

    USER = "user"  # allowed in spec.parameters
    FIELD = "field"  # has a field of its own in the spec
    OPERATOR = "operator"  # the operator's promises rest on it
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One `[pgbouncer]` setting.

    minimum, maximum: both included; in the setting's own unit. choices: of ENUM, and of the words of a CSV; empty: any.
    default: PgBouncer's own, None where SHOW CONFIG shows NULL. ours: what a pool gets that says nothing, if different.
    since, removed: PgBouncer releases. field: the place in the spec to use instead.
    """

    name: str
    type: Type
    default: str | None
    help: str
    minimum: int = 0
    maximum: int = 2**31 - 1
    choices: tuple[str, ...] = ()
    since: str = "1.0"
    removed: str | None = None
    change: ChangeClass = ChangeClass.RELOAD
    audience: Audience = Audience.USER
    field: str | None = None
    ours: str | None = None


@dataclass(frozen=True, slots=True)
class ParameterProblem:
    """Why a setting cannot be used. message: starts with the name, says why and what to do."""

    name: str
    message: str
