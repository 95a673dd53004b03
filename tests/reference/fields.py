"""Every field of both kinds, made of their CustomResourceDefinitions."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.reference.markdown import code, table

from pgbouncer_operator.api import crd, crd_server

Schema = Mapping[str, Any]
VALIDATIONS = "x-kubernetes-validations"
# How a description says how a change takes effect. Such sentences stand at its end.
_EFFECT = re.compile(r"^(?:A change|A new|Applied at once|Given or taken away|Removal|What serves)")
_DEFAULT = "Default: "
_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"')
# Its rules are one for each setting of PgBouncer, which have a page of their own.
_BY_CATALOGUE = "spec.parameters"


@dataclass(frozen=True, slots=True)
class Field:
    """One field. path: from the object's root, `[]` for the elements of a list."""

    path: str
    schema: Schema
    required: bool


def pool_spec() -> str:
    """Every field of spec of a ConnectionPool."""
    return _spec(pool_schema())


def pool_status() -> str:
    """Every field of status of a ConnectionPool."""
    return _status(pool_schema())


def server_spec() -> str:
    """Every field of spec of a PostgresServer."""
    return _spec(server_schema())


def server_status() -> str:
    """Every field of status of a PostgresServer."""
    return _status(server_schema())


def pool_schema() -> Schema:
    """The properties of a ConnectionPool."""
    return _properties(crd.render())


def server_schema() -> Schema:
    """The properties of a PostgresServer."""
    return _properties(crd_server.render())


def _properties(definition: Schema) -> Schema:
    found: Schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return found


def _spec(root: Schema) -> str:
    """A heading and a table for each field directly below spec, then the rules that join several of them."""
    parts = []
    for top in _children("spec", root["spec"]):
        rows = [_row(each) for each in walk(top)]
        parts += [
            f"### `{top.path}`",
            table(("field", "type and bounds", "default", "meaning", "how a change takes effect"), rows),
        ]
    rules = [f"- {_message(rule)}" for rule in root["spec"].get(VALIDATIONS, ())]
    if rules:
        parts += ["### Rules that join several fields", "\n".join(rules)]
    return "\n\n".join(parts)


def _status(root: Schema) -> str:
    rows = [(code(each.path), _type(each.schema), each.schema["description"]) for each in walk_below("status", root)]
    return table(("field", "type", "meaning"), rows)


def walk_below(name: str, root: Schema) -> Iterator[Field]:
    """Every field below one of the root's own."""
    for each in _children(name, root[name]):
        yield from walk(each)


def walk(field: Field) -> Iterator[Field]:
    """The field and every field below it, in the order of the models."""
    yield field
    items = field.schema.get("items")
    inner, path = (items, f"{field.path}[]") if items else (field.schema, field.path)
    for each in _children(path, inner):
        yield from walk(each)


def _children(path: str, schema: Schema) -> list[Field]:
    required = schema.get("required", ())
    return [Field(f"{path}.{name}", each, name in required) for name, each in schema.get("properties", {}).items()]


def _row(field: Field) -> tuple[str, ...]:
    meaning, default, effect = described(field.schema["description"])
    bounds = "; ".join([_type(field.schema), *_bounds(field)])
    if field.required:
        default = "required"
    return code(field.path), bounds, default or _default(field.schema), meaning, effect


def described(text: str) -> tuple[str, str, str]:
    """A description in three parts: what the field means, its default, and how a change takes effect."""
    sentences = re.split(r"(?<=\.) (?=[A-Z])", text)
    meaning, default, effect = [], "", []
    for each in sentences:
        if each.startswith(_DEFAULT):
            default = each.removeprefix(_DEFAULT).removesuffix(".")
        elif each == "Required.":
            continue
        elif _EFFECT.match(each) or effect:
            effect.append(each)
        else:
            meaning.append(each)
    return " ".join(meaning), default, " ".join(effect)


def _default(schema: Schema) -> str:
    return code(json.dumps(schema["default"])) if "default" in schema else "–"


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return ", ".join(code(each if isinstance(each, str) else json.dumps(each)) for each in schema["enum"])
    if "x-kubernetes-int-or-string" in schema:
        return "integer or string"
    if isinstance(values := schema.get("additionalProperties"), Mapping):
        return f"map of {_type(values)}"
    if "items" in schema:
        items = schema["items"]
        return "list" if "properties" in items else f"list of {_type(items)}"
    return str(schema["type"])


def _message(rule: Schema) -> str:
    """What the API server says. An expression is `text + offender + text`, and names the offender."""
    expression = rule.get("messageExpression")
    if expression is None:
        return str(rule["message"])
    before = _LITERAL.match(expression)
    after = expression.rpartition(' + "')[2]
    return (json.loads(before[0]) if before else "") + "…" + json.loads(f'"{after}')


def _bounds(field: Field) -> Iterator[str]:
    schema = field.schema
    for low, high, unit in (
        ("minimum", "maximum", ""),
        ("minItems", "maxItems", " entries"),
        ("minProperties", "maxProperties", " entries"),
        ("minLength", "maxLength", " characters"),
    ):
        if high in schema:
            yield f"{schema.get(low, 0)} … {schema[high]}{unit}"
    if "pattern" in schema:
        yield code(schema["pattern"])
    if field.path == _BY_CATALOGUE:
        yield "see [settings](settings.md)"
    else:
        yield from (f'"{_message(rule)}"' for rule in schema.get(VALIDATIONS, ()))
