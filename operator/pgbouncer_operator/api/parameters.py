"""`spec.parameters`: the rules that follow from the catalogue of PgBouncer's settings.

The catalogue is `pgbouncer.parameters.CATALOGUE`. Each rule is CEL for the API server, and a check in
Python (`problems`).
"""

import re
from collections.abc import Iterable, Mapping

from pgbouncer_operator.api.connection_pool import FieldProblem
from pgbouncer_operator.api.model import Rule, quote
from pgbouncer_operator.pgbouncer.parameter import Audience, Parameter, Type

Value = int | str
_INTEGER = "(0|[1-9][0-9]{0,11})"  # no leading zero: PgBouncer reads 010 as eight
_SECONDS = f"{_INTEGER}([.][0-9]{{1,6}})?"  # no unit: PgBouncer refuses 5m
_NOBODY, _OPERATOR = "-", "operator"  # values of _owner that are not fields of the spec
_WORD = "[A-Za-z_][A-Za-z0-9_.]{0,62}"
_WORDS = frozenset({Type.BOOL, Type.ENUM, Type.CSV})


def rules(catalogue: Iterable[Parameter]) -> tuple[Rule, ...]:
    """Rules for the names and the values in `spec.parameters`. catalogue: every setting of PgBouncer."""
    rows = sorted(catalogue, key=lambda row: row.name)
    free = [row for row in rows if row.audience is Audience.USER]
    words = sorted({(row.type, row.choices) for row in free if row.type in _WORDS})
    checks = (
        _names([row.name for row in free], {row.name: _owner(row) for row in rows if row not in free}),
        _numbers([row for row in free if row.type is Type.INT], _INTEGER),
        _numbers([row for row in free if row.type is Type.TIME], _SECONDS),
        *(_words([row for row in free if (row.type, row.choices) == kind]) for kind in words),
    )
    return tuple(rule for rule in checks if rule is not None)


def problems(parameters: Mapping[str, Value], catalogue: Iterable[Parameter]) -> tuple[FieldProblem, ...]:
    """The messages that the API server gives for these parameters. They hold names of settings and never values."""
    broken = ((rule, rule.broken(parameters)) for rule in rules(catalogue))
    return tuple(
        FieldProblem("spec.parameters", rule.message.replace("{}", name)) for rule, name in broken if name is not None
    )


def _owner(row: Parameter) -> str:
    """What decides a setting that is not allowed in spec.parameters: a field of the spec, _OPERATOR or _NOBODY."""
    if row.audience is Audience.UNSUPPORTED:
        return _NOBODY
    return row.field or _OPERATOR


def _names(free: list[str], taken: Mapping[str, str]) -> Rule:
    """One rule for all names, because each list of names is long. taken: the `_owner` of every other setting."""
    nobody = " is not supported by this operator:"
    operator = " belongs to the operator, which needs its own value to work:"
    field, instead = " follows from spec.", ": set that field and"
    unknown = " is not a setting of PgBouncer: correct its spelling, in lower case, or"
    allowed = _list(free)
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
        phrases = {None: unknown, _NOBODY: nobody, _OPERATOR: operator}
        return key + phrases.get(owner, f"{field}{owner}{instead}")

    return Rule(
        cel=f"self.all(k, k in {allowed})",
        broken=broken,
        # Only the first becomes text: the API server's estimate takes each name for as long as a request may be.
        offender=f"[{table}].map(t, [self.filter(k, !(k in {allowed}))[0]].map(k, k + ({phrase}))[0])[0]",
        message="{} remove it",
    )


def _numbers(rows: list[Parameter], pattern: str) -> Rule | None:
    """One rule for all numbers of one type, with their ranges in a table: a rule for each setting would be far longer.

    CEL has no variables. A loop over a list of one element gives the table its name, `t`.
    """
    if not rows:
        return None
    integer = rows[0].type is Type.INT
    convert, bound = ("int", "{}") if integer else ("double", "double({})")
    kind = " must be an integer from " if integer else " must be a number of seconds, without a unit, from "
    table = _table({row.name: f"[{row.minimum}, {row.maximum}]" for row in rows})
    good = (
        f'((type(self[k]) == int || self[k].matches("^{pattern}$"))'
        f" && {convert}(self[k]) >= {bound.format('t[k][0]')} && {convert}(self[k]) <= {bound.format('t[k][1]')})"
    )
    # As text: the API server's cost estimate assumes that an integer turned into a string may be of any length.
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


def _words(rows: list[Parameter]) -> Rule:
    """One rule for all settings that take the same words: booleans, one of a few words, or a list of words."""
    choices = rows[0].choices
    match rows[0].type:
        case Type.BOOL:
            good, pattern, expectation = '(self[k] in [0, 1] || self[k] in ["0", "1"])', "[01]", "0 or 1"
        case Type.CSV:
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
    return "[" + ",".join(quote(name) for name in names) + "]"  # no blanks: the definition has a bound


def _table(entries: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{quote(name)}:{value}" for name, value in entries.items()) + "}"
