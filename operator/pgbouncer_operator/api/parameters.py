"""`spec.parameters`: the catalogue of PgBouncer's settings, as plain data, turned into rules.

The catalogue itself is knowledge about PgBouncer and lives in `pgbouncer.parameters`; the caller hands it over, because
the API does not import its sibling. The same data becomes CEL for the API server and an answer in Python (`problems`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pgbouncer_operator.api.connection_pool import FieldProblem
from pgbouncer_operator.api.model import Rule, quote

Value = int | str
_INTEGER = "(0|[1-9][0-9]{0,11})"  # no leading zero: PgBouncer reads 010 as eight
_SECONDS = f"{_INTEGER}([.][0-9]{{1,6}})?"  # no unit: PgBouncer refuses 5m
_NOBODY, _OPERATOR = "-", "operator"  # what no field of the spec is named
_WORD = "[A-Za-z_][A-Za-z0-9_.]{0,62}"


class ParameterType(StrEnum):
    """How PgBouncer reads a setting's text; the values are the catalogue's."""

    INTEGER = "integer"
    SECONDS = "seconds"
    BOOLEAN = "0 or 1"
    ENUM = "word"
    LIST = "list"
    TEXT = "string"


class Audience(StrEnum):
    """Who may set a setting; the values are the catalogue's."""

    USER = "user"
    FIELD = "field"
    OPERATOR = "operator"
    UNSUPPORTED = "unsupported"


_WORDS = frozenset({ParameterType.BOOLEAN, ParameterType.ENUM, ParameterType.LIST})


@dataclass(frozen=True, slots=True)
class ParameterRule:
    """What users need to know of one setting. Bounds are inclusive; `field` is where in `spec` to set it instead."""

    name: str
    type: ParameterType
    minimum: int = 0
    maximum: int = 2**31 - 1
    choices: tuple[str, ...] = ()
    field: str | None = None
    audience: Audience = Audience.USER


def rules(catalogue: Iterable[ParameterRule]) -> tuple[Rule, ...]:
    """Return the rules for `spec.parameters`: known names, none that are set elsewhere, values of the right kind."""
    known = sorted(catalogue, key=lambda rule: rule.name)
    free = [rule for rule in known if rule.audience == Audience.USER]
    words = sorted({(rule.type, rule.choices) for rule in free if rule.type in _WORDS})
    checks = (
        _names([rule.name for rule in free], {rule.name: _owner(rule) for rule in known if rule not in free}),
        _numbers([rule for rule in free if rule.type == ParameterType.INTEGER], _INTEGER),
        _numbers([rule for rule in free if rule.type == ParameterType.SECONDS], _SECONDS),
        *(_words([rule for rule in free if (rule.type, rule.choices) == kind]) for kind in words),
    )
    return tuple(rule for rule in checks if rule is not None)


def problems(parameters: Mapping[str, Value], catalogue: Iterable[ParameterRule]) -> tuple[FieldProblem, ...]:
    """Return what the API server would say about these parameters. Names of settings, never their values."""
    broken = ((rule, rule.broken(parameters)) for rule in rules(catalogue))
    return tuple(
        FieldProblem("spec.parameters", rule.message.replace("{}", name)) for rule, name in broken if name is not None
    )


def _owner(rule: ParameterRule) -> str:
    """Who sets it instead: a field of the spec, the operator, or nobody."""
    if rule.audience == Audience.UNSUPPORTED:
        return _NOBODY
    return rule.field or _OPERATOR


def _names(free: list[str], taken: Mapping[str, str]) -> Rule:
    """Return one rule for all names, since each list of them is long. `taken`: who sets it instead, by name."""
    nobody = " is not supported by this operator:"
    operator = " belongs to the operator, which needs its own value to work:"
    field, instead = " follows from spec.", ": set that field and"
    unknown = " is not a setting of PgBouncer: correct its spelling, in lower case, or"
    listed = _list(free)
    table = _table({name: quote(owner) for name, owner in taken.items()})
    phrase = (
        f"!(k in t) ? {quote(unknown)} : t[k] == {quote(_NOBODY)} ? {quote(nobody)}"
        f" : t[k] == {quote(_OPERATOR)} ? {quote(operator)} : {quote(field)} + t[k] + {quote(instead)}"
    )

    def broken(parameters: Mapping[str, Value]) -> str | None:
        key = next((key for key in sorted(parameters) if key not in free), None)
        if key is None:
            return None
        owner = taken.get(key)
        known = {None: unknown, _NOBODY: nobody, _OPERATOR: operator}
        return key + known.get(owner, f"{field}{owner}{instead}")

    return Rule(
        cel=f"self.all(k, k in {listed})",
        broken=broken,
        offender=f"[{table}].map(t, self.filter(k, !(k in {listed})).map(k, k + ({phrase}))[0])[0]",
        message="{} remove it",
    )


def _numbers(rows: list[ParameterRule], pattern: str) -> Rule | None:
    """Return one rule for all numbers of a kind, with their ranges in a table: a rule for each would be far longer.

    CEL has no variables; the table gets its name `t` by a loop over a list of one.
    """
    if not rows:
        return None
    integer = rows[0].type == ParameterType.INTEGER
    convert, bound = ("int", "{}") if integer else ("double", "double({})")
    kind = " must be an integer from " if integer else " must be a number of seconds, without a unit, from "
    table = _table({row.name: f"[{row.minimum}, {row.maximum}]" for row in rows})
    good = (
        f'((type(self[k]) == int || self[k].matches("^{pattern}$"))'
        f" && {convert}(self[k]) >= {bound.format('t[k][0]')} && {convert}(self[k]) <= {bound.format('t[k][1]')})"
    )
    # In words of their own: the API server reckons that an integer may become a string of any length.
    ranges = _table({row.name: quote(f"{row.minimum} to {row.maximum}") for row in rows})
    wrong = f"[{table}].map(t, t.filter(k, k in self && !{good})[0])[0]"
    whole = re.compile(pattern)

    def broken(parameters: Mapping[str, Value]) -> str | None:
        for row in rows:
            value = parameters.get(row.name, row.minimum)
            if not whole.fullmatch(str(value)) or not row.minimum <= float(value) <= row.maximum:
                return f"{row.name}{kind}{row.minimum} to {row.maximum}"
        return None

    return Rule(
        cel=f"[{table}].all(t, t.all(k, !(k in self) || {good}))",
        broken=broken,
        offender=f"[{wrong}].map(k, k + {quote(kind)} + {ranges}[k])[0]",
        message="{}: correct it or remove it",
    )


def _words(rows: list[ParameterRule]) -> Rule:
    """Return one rule for all settings that take the same words: booleans, one of a few words, or a list of words."""
    choices = rows[0].choices
    match rows[0].type:
        case ParameterType.BOOLEAN:
            good, pattern, expectation = '(self[k] in [0, 1] || self[k] in ["0", "1"])', "[01]", "0 or 1"
        case ParameterType.LIST:
            word = f"({_either(choices)})" if choices else _WORD
            pattern = f"({word}( *, *{word})*)?"
            good = f'(type(self[k]) == string && self[k].matches(r"^{pattern}$"))'
            expectation = f"words with commas between them, of {', '.join(choices)}" if choices else "names and commas"
        case _:
            good, pattern, expectation = (
                f"self[k] in {_list(choices)}",
                _either(choices),
                f"one of {', '.join(choices)}",
            )
    names, whole = [row.name for row in rows], re.compile(pattern)
    return Rule(
        cel=f"{_list(names)}.all(k, !(k in self) || {good})",
        broken=lambda parameters: next(
            (name for name in names if name in parameters and not whole.fullmatch(str(parameters[name]))), None
        ),
        offender=f"{_list(names)}.filter(k, k in self && !({good}))[0]",
        message=f"{{}} must be {expectation}: correct it or remove it",
    )


def _either(choices: Iterable[str]) -> str:
    return "|".join(re.escape(choice) for choice in choices)


def _list(names: Iterable[str]) -> str:
    return "[" + ", ".join(quote(name) for name in names) + "]"


def _table(entries: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{quote(name)}: {value}" for name, value in entries.items()) + "}"
