"""The structural schema of a model: the subset of OpenAPI that a CustomResourceDefinition may have.

It replaces what pydantic writes and Kubernetes refuses: references, titles, unions with null, `const`,
`propertyNames`, `patternProperties`. https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

Schema = dict[str, Any]

# Kubernetes does not allow these, or gives them another meaning.
_DROPPED = frozenset({"title", "$defs", "propertyNames", "additionalProperties", "patternProperties", "const"})


class _WithoutNull(GenerateJsonSchema):
    """An absent field is absent in Kubernetes, never null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def structural(model: type[BaseModel], *, defaults: bool = True) -> Schema:
    """The structural schema of a model. defaults: False leaves defaults out, which a status must not have.

    List items never have one; the models apply it. What the API server adds to an item makes tools that compare whole
    lists, as a three-way JSON merge patch does, find a difference for ever. https://www.rfc-editor.org/rfc/rfc7386
    """
    document = model.model_json_schema(by_alias=True, schema_generator=_WithoutNull)
    return _node(document, document.get("$defs", {}), defaults)


def _node(raw: Mapping[str, Any], definitions: Mapping[str, Any], defaults: bool) -> Schema:
    source = _inlined(raw, definitions)
    node = {key: value for key, value in source.items() if key not in _DROPPED}
    if "const" in source:
        node["enum"] = [source["const"]]
    if "description" in node:
        node["description"] = " ".join(node["description"].split())
    if "properties" in node:
        node["properties"] = {name: _node(child, definitions, defaults) for name, child in node["properties"].items()}
    if "items" in node:
        node["items"] = _node(node["items"], definitions, defaults=False)
    if value := _map_value(source):
        node["additionalProperties"] = _node(value, definitions, defaults)
    bounded = node.get("default") == [] and "minItems" in node  # the models' word for an absent list
    if not defaults or node.get("default", ...) is None or bounded:
        node.pop("default", None)
    if "default" in node:
        node["default"] = _minimal(node["default"], node)
    return node


def _map_value(source: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of a map's values. For keys with a pattern pydantic writes it as `patternProperties`."""
    for value in source.get("patternProperties", {}).values():
        return dict(value)
    value = source.get("additionalProperties")
    return value if isinstance(value, dict) else None


def _inlined(raw: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """The schema with its reference replaced. Keys beside the reference override those of its target."""
    if "$ref" not in raw:
        return dict(raw)
    beside = {key: value for key, value in raw.items() if key != "$ref"}
    return {**definitions[raw["$ref"].removeprefix("#/$defs/")], **beside}


def _minimal(default: Any, node: Mapping[str, Any]) -> Any:
    """An object's default without nulls and without the values that are the defaults of its fields."""
    if not isinstance(default, dict) or "properties" not in node:
        return default
    fields = node["properties"]
    shrunk = {name: _minimal(value, fields[name]) for name, value in default.items() if value is not None}
    return {
        name: value
        for name, value in shrunk.items()
        if "default" not in fields[name] or value != fields[name]["default"]
    }
