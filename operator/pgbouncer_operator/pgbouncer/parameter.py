"""A row of the catalogue of PgBouncer's settings. Pure."""

import re
from dataclasses import dataclass
from enum import StrEnum


class Type(StrEnum):
    """How PgBouncer parses a value. It checks no ranges, so every bound of the catalogue is the operator's."""

    STR = "string"
    INT = "integer"
    TIME = "seconds"  # decimal, fractions allowed, no unit
    BOOL = "0 or 1"
    ENUM = "word"
    CSV = "list"  # words separated by commas


class ChangeClass(StrEnum):
    """How a change reaches running pods."""

    RELOAD = "reload"
    RELOAD_RECONNECT = "reload and reconnect"  # server connections are renewed between transactions
    ROLL = "roll"  # pods are replaced: PgBouncer ignores the change on a reload


class Audience(StrEnum):
    """Who may set a setting."""

    USER = "user"  # allowed in spec.parameters
    FIELD = "field"  # has a field of its own in the spec
    OPERATOR = "operator"  # the operator sets it, because its promises depend on it
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of the section `[pgbouncer]`."""

    name: str
    """The setting's name in pgbouncer.ini."""
    type: Type
    """How its value is written."""
    default: str | None
    """PgBouncer's own default; None where SHOW CONFIG shows NULL."""
    help: str
    """The effect, as one sentence."""
    minimum: int = 0
    """Smallest value, in the setting's own unit."""
    maximum: int = 2**31 - 1
    """Largest value, in the setting's own unit."""
    choices: tuple[str, ...] = ()
    """Values of an ENUM, or words of a CSV; empty for any."""
    since: str = "1.0"
    """The PgBouncer release that has the setting first."""
    removed: str | None = None
    """The PgBouncer release that has the setting no more."""
    change: ChangeClass = ChangeClass.RELOAD
    """How a changed value reaches a running PgBouncer."""
    audience: Audience = Audience.USER
    """Who may set it."""
    field: str | None = None
    """The field of the spec that decides the setting."""
    ours: str | None = None
    """The value that the operator sets by default, where that is not PgBouncer's own."""


@dataclass(frozen=True, slots=True)
class ParameterProblem:
    """Why a setting cannot be used. message: starts with the name and ends with the remedy."""

    name: str
    message: str


def version_order(version: str) -> tuple[int, ...]:
    """The first three numbers of a version such as "1.26.1", to compare versions by; () where it has none."""
    return tuple(int(each) for each in re.findall(r"\d{1,9}", version)[:3])
