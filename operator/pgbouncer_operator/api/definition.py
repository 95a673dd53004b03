"""The parts that both CustomResourceDefinitions share: their frame, and their text. Pure and deterministic."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from pgbouncer_operator.api.model import VALIDATIONS
from pgbouncer_operator.api.schema import Schema
from pgbouncer_operator.naming import CATEGORY, GROUP, LABEL_NAME, MANAGED_BY, VERSION

HEADER = "---\n# Generated from the models in pgbouncer_operator/api by `make generate`. Do not edit.\n"
READY = '.status.conditions[?(@.type=="Ready")]'


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    type: str
    path: str
    """JSONPath of one value. A path cannot join values, so a column of two numbers reads one string of the status."""
    wide: bool = False
    """Whether only `-o wide` shows the column."""

    def wire(self) -> dict[str, Any]:
        """The entry of `additionalPrinterColumns`."""
        entry: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        return {**entry, "priority": 1} if self.wide else entry


@dataclass(frozen=True, slots=True)
class Definition:
    """A kind, and what its CustomResourceDefinition says of it. Every kind is namespaced and has one version."""

    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    description: str
    spec: Schema
    status: Schema
    rules: tuple[dict[str, str], ...] = ()
    """Entries of `x-kubernetes-validations` for the object as a whole."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the definition itself, besides the operator's own."""
    scale: Mapping[str, str] | None = None
    """Paths of the scale subresource; None leaves the subresource out."""

    @property
    def name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"

    def render(self) -> dict[str, Any]:
        """The CustomResourceDefinition as a JSON value."""
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": self.name, "labels": {LABEL_NAME: MANAGED_BY, **self.labels}},
            "spec": {
                "group": GROUP,
                "names": {
                    "categories": [CATEGORY],
                    "kind": self.kind,
                    "listKind": f"{self.kind}List",
                    "plural": self.plural,
                    "shortNames": list(self.short_names),
                    "singular": self.singular,
                },
                "scope": "Namespaced",
                "versions": [self._version()],
            },
        }

    def _version(self) -> dict[str, Any]:
        return {
            "name": VERSION,
            "served": True,
            "storage": True,
            "additionalPrinterColumns": [column.wire() for column in self.columns],
            "schema": {"openAPIV3Schema": self._schema()},
            "subresources": {"status": {}, **({"scale": dict(self.scale)} if self.scale else {})},
        }

    def _schema(self) -> Schema:
        schema: Schema = {
            "description": self.description,
            "type": "object",
            "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string", "description": f"Version of this API: {GROUP}/{VERSION}."},
                "kind": {"type": "string", "description": f"Kind of this object: {self.kind}."},
                "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}},
                "spec": self.spec,
                "status": self.status,
            },
        }
        return {**schema, VALIDATIONS: list(self.rules)} if self.rules else schema


def to_yaml(document: Mapping[str, Any], header: str = HEADER) -> str:
    """The text of a manifest: sorted keys, and one line of any length for each field that has no fields below it."""
    plain = json.loads(json.dumps(document))  # parts that two schemas share would become YAML aliases
    tree = yaml.compose(yaml.safe_dump(plain, sort_keys=True, default_flow_style=None), yaml.SafeLoader)
    assert tree is not None
    _line_up(tree)
    return header + yaml.serialize(tree, Dumper=yaml.SafeDumper, width=10_000, allow_unicode=True)


def _line_up(node: yaml.Node, inline: bool = False) -> None:
    """Write every schema that has no fields below it on one line: indentation would be a fifth of the definition."""
    if isinstance(node, yaml.MappingNode):
        entries = {key.value: value for key, value in node.value}
        is_schema = "type" in entries or "x-kubernetes-int-or-string" in entries
        inline = inline or (is_schema and "properties" not in entries and not _has_fields(entries.get("items")))
        children = list(entries.values())
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    else:
        return
    node.flow_style = node.flow_style or inline
    for child in children:
        _line_up(child, inline)


def _has_fields(node: yaml.Node | None) -> bool:
    return isinstance(node, yaml.MappingNode) and any(key.value == "properties" for key, _ in node.value)
