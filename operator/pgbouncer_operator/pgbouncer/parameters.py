"""The catalogue of PgBouncer's settings: who may set each, which values it takes, how a change takes effect. Pure.

To support a setting of a newer PgBouncer, add a row to parameters_table. PgBouncer checks no ranges and stops reading
its file at the first bad line, so every value is checked here before it is written.
"""

import difflib
import re

from pgbouncer_operator.pgbouncer.characters import unfit
from pgbouncer_operator.pgbouncer.parameter import (
    Audience,
    ChangeClass,
    Parameter,
    ParameterProblem,
    Type,
    version_order,
)
from pgbouncer_operator.pgbouncer.parameters_owned import OWNED, UNSUPPORTED
from pgbouncer_operator.pgbouncer.parameters_table import FIELDS, PARAMETERS

__all__ = [
    "CATALOGUE",
    "MAX_DATABASE_BYTES",
    "MAX_LOGIN_BYTES",
    "MAX_PASSWORD_BYTES",
    "MAX_PEER_ID",
    "MAX_VALUE_LENGTH",
    "VERSION",
    "Audience",
    "ChangeClass",
    "Parameter",
    "ParameterProblem",
    "Type",
    "check",
    "for_users",
    "lookup",
]

VERSION = "1.26.1"  # the PgBouncer of the pool's image, which the catalogue describes
MAX_VALUE_LENGTH = 1024
MAX_DATABASE_BYTES = 63
MAX_LOGIN_BYTES = 127
MAX_PASSWORD_BYTES = 65531  # the most that PgBouncer 1.26 reads; tokens of clouds have up to some thousand
MAX_PEER_ID = 16383

CATALOGUE: tuple[Parameter, ...] = (*FIELDS, *PARAMETERS, *OWNED, *UNSUPPORTED)
_BY_NAME = {each.name: each for each in CATALOGUE}


def lookup(name: str) -> Parameter | None:
    """The row of that name, or None."""
    return _BY_NAME.get(name)


def for_users() -> tuple[Parameter, ...]:
    """The settings that spec.parameters may hold, sorted by name."""
    return tuple(sorted((each for each in CATALOGUE if each.audience is Audience.USER), key=lambda each: each.name))


def check(
    name: str,
    value: str | int,
    version: str = VERSION,
    audiences: tuple[Audience, ...] = (Audience.USER,),
) -> ParameterProblem | None:
    """Why `name = value` cannot be used, or None if it can.

    version: the pool's PgBouncer. audiences: who sets the value; by default, a user in spec.parameters.
    """
    row = _BY_NAME.get(name)
    if row is None:
        return ParameterProblem(name, f"{_shown(name)} is not a setting of PgBouncer{_suggestion(name)}")
    complaint = _version_complaint(row, version) or _audience_complaint(row, audiences) or _complaint(row, value)
    return ParameterProblem(name, f"{name} {complaint}") if complaint else None


def _shown(name: str) -> str:
    # The name is text of a user. The message stays one short line, whatever the text is.
    return ascii(name)[1:-1][:64]


def _suggestion(name: str) -> str:
    likely = difflib.get_close_matches(name.lower().replace("-", "_"), _BY_NAME, n=1, cutoff=0.75)
    return f": did you mean {likely[0]}?" if likely else ": see the list in operator/docs/reference/settings.md"


def _version_complaint(row: Parameter, version: str) -> str:
    if row.removed is not None and version_order(version) >= version_order(row.removed):
        return f"was removed in PgBouncer {row.removed} and this pool runs {version}: remove it"
    if version_order(version) < version_order(row.since):
        return f"needs PgBouncer {row.since} and this pool runs {version}: remove it or use a newer image"
    return ""


def _audience_complaint(row: Parameter, audiences: tuple[Audience, ...]) -> str:
    if row.audience in audiences:
        return ""
    match row.audience:
        case Audience.FIELD:
            return f"has a field of its own: set {row.field} and remove it here"
        case Audience.OPERATOR:
            return f"is set by the operator{f', from {row.field}' if row.field else ''}: remove it"
        case Audience.UNSUPPORTED:
            return "is not supported by this operator: remove it"
        case Audience.USER:
            return "cannot be set here: use spec.parameters"


def _complaint(row: Parameter, value: str | int) -> str:
    if isinstance(value, bool):
        return "is a boolean: write a number or a string in quotes; PgBouncer's own booleans are 0 and 1"
    text = str(value)
    complaint = _text_complaint(text)
    if complaint:
        return complaint
    match row.type:
        case Type.INT | Type.TIME:
            complaint = _number_complaint(row, text)
        case Type.BOOL if text not in ("0", "1"):
            complaint = f"is {text!r}: PgBouncer takes 0 (off) and 1 (on) only"
        case Type.ENUM if text not in row.choices:
            complaint = f"is {text!r}: use one of {', '.join(row.choices)}"
        case Type.CSV:
            complaint = _list_complaint(row, text)
    return complaint


def _text_complaint(text: str) -> str:
    fault = unfit(text)
    if fault is not None:
        return f"holds {fault}: remove it"
    if len(text) > MAX_VALUE_LENGTH:
        return f"is longer than {MAX_VALUE_LENGTH} characters: shorten it"
    if text != text.strip(" "):
        return "starts or ends with a blank, which PgBouncer would strip: remove it"
    return ""


def _number_complaint(row: Parameter, text: str) -> str:
    whole = r"0|[1-9][0-9]{0,11}"
    shape = whole if row.type is Type.INT else rf"({whole})(\.[0-9]{{1,6}})?"
    if not re.fullmatch(shape, text):
        kind = "a whole number" if row.type is Type.INT else "a number of seconds without a unit"
        return f"is {text!r}: use {kind}, from {row.minimum} to {row.maximum}"
    if not row.minimum <= float(text) <= row.maximum:
        return f"is {text}: use a number from {row.minimum} to {row.maximum}"
    return ""


def _list_complaint(row: Parameter, text: str) -> str:
    for word in (each.strip(" ") for each in text.split(",") if text):
        if row.choices and word not in row.choices:
            return f"holds {word!r}: use a list of {', '.join(row.choices)}"
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]{0,62}", word):
            return f"holds {word!r}: use names with commas between them"
    return ""
