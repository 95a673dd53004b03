"""PgBouncer's settings, made of the catalogue."""

from tests.reference.markdown import code, table

from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.pgbouncer.parameter import Audience, Parameter, Type


def free() -> str:
    """The settings that a pool may put in spec.parameters, by name."""
    cells = [(code(row.name), _values(row), _default(row), row.change.value, row.help) for row in _rows(Audience.USER)]
    return table(("parameter", "values", "default", "a change takes effect by", "meaning"), cells)


def reserved() -> str:
    """The settings that spec.parameters refuses: who sets them, and by which field of the spec."""
    kinds = {
        Audience.FIELD: "a field",
        Audience.OPERATOR: "the operator",
        Audience.UNSUPPORTED: "nobody: not supported",
    }
    cells = [
        (code(row.name), text, code(row.field or "") or "–", row.help)
        for kind, text in kinds.items()
        for row in _rows(kind)
    ]
    return table(("setting", "set by", "field of the spec", "meaning"), cells)


def _rows(audience: Audience) -> list[Parameter]:
    found = (row for row in parameters.CATALOGUE if row.audience is audience)
    return sorted(found, key=lambda each: each.name)


def _values(row: Parameter) -> str:
    match row.type:
        case Type.INT | Type.TIME:
            unit = " s" if row.type is Type.TIME else ""
            return f"{row.minimum} … {row.maximum}{unit}"
        case Type.ENUM | Type.CSV if row.choices:
            return ", ".join(f"`{each}`" for each in row.choices)
        case _:
            return row.type.value


def _default(row: Parameter) -> str:
    """What a pool gets that does not set it. The operator's own default may be a rule, in words."""
    if row.ours is not None and " " in row.ours:
        return row.ours
    return code(row.default if row.ours is None else row.ours) or "–"
