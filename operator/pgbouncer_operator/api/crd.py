"""The CustomResourceDefinition, made of the models and the catalogue of PgBouncer's settings.

Pure and deterministic: the same models and rules give the same bytes. The files under `crds/` are this module's output.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import yaml

from pgbouncer_operator.api import crd_server, parameters
from pgbouncer_operator.api.conditions import unseen
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.api.model import VALIDATIONS
from pgbouncer_operator.api.parameters import ParameterRule
from pgbouncer_operator.api.schema import Schema, structural
from pgbouncer_operator.api.spec import PoolSpec
from pgbouncer_operator.api.status import PoolStatus
from pgbouncer_operator.naming import (
    CATEGORY,
    GROUP,
    KIND,
    LABEL_NAME,
    MANAGED_BY,
    PLURAL,
    SHORT_NAMES,
    SINGULAR,
    VERSION,
)

NAME = f"{PLURAL}.{GROUP}"
FILE = f"{NAME}.yaml"
HEADER = "---\n# Generated from the models in pgbouncer_operator/api by `make generate`. Do not edit.\n"

# The Service Binding specification finds kinds with `status.binding.name` by this label.
_PROVISIONED_SERVICE = "servicebinding.io/provisioned-service"

_READY = '.status.conditions[?(@.type=="Ready")]'
# (column, type, path, wide only). A column of two numbers needs one string in status: a path cannot join.
_COLUMNS = (
    ("Ready", "string", f"{_READY}.status", False),
    ("Reason", "string", f"{_READY}.reason", False),
    ("Pods", "string", ".status.summary.pods", False),
    ("Connections", "string", ".status.summary.connections", False),
    ("Clients", "integer", ".status.clients.connected", False),
    ("Waiting", "integer", ".status.serverConnections.waiting", False),
    ("Age", "date", ".metadata.creationTimestamp", False),
    ("Mode", "string", ".spec.poolMode", True),
    ("Endpoint", "string", ".status.endpoint", True),
    ("Image", "string", ".status.image", True),
)


def render(catalogue: Iterable[ParameterRule]) -> dict[str, Any]:
    """Return the CRD as a JSON value. `catalogue` holds every setting that PgBouncer knows."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME, "labels": {LABEL_NAME: MANAGED_BY, _PROVISIONED_SERVICE: "true"}},
        "spec": {
            "group": GROUP,
            "names": {
                "categories": [CATEGORY],
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "shortNames": list(SHORT_NAMES),
                "singular": SINGULAR,
            },
            "scope": "Namespaced",
            "versions": [_version(catalogue)],
        },
    }


def to_yaml(document: Mapping[str, Any], header: str = HEADER) -> str:
    """Return a manifest's text: sorted keys, and one line of any length for each field without fields of its own."""
    plain = json.loads(json.dumps(document))  # parts that models share would otherwise become YAML aliases
    tree = yaml.compose(yaml.safe_dump(plain, sort_keys=True, default_flow_style=None), yaml.SafeLoader)
    assert tree is not None
    _line_up(tree)
    return header + yaml.serialize(tree, Dumper=yaml.SafeDumper, width=10_000, allow_unicode=True)


def files(catalogue: Iterable[ParameterRule]) -> dict[str, str]:
    """Return every file of `crds/` by name: the definitions, and the list that `kubectl apply -k` needs."""
    definitions = {FILE: render(catalogue), crd_server.FILE: crd_server.render()}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(definitions),
    }
    return {name: to_yaml(body) for name, body in (definitions | {"kustomization.yaml": kustomization}).items()}


def _line_up(node: yaml.Node, inline: bool = False) -> None:
    """Put every schema without fields of its own on one line: indentation would be a fifth of the definition."""
    if isinstance(node, yaml.MappingNode):
        given = {key.value: value for key, value in node.value}
        is_schema = "type" in given or "x-kubernetes-int-or-string" in given
        inline = inline or (is_schema and "properties" not in given and not _has_fields(given.get("items")))
        children = list(given.values())
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    else:
        return
    node.flow_style = node.flow_style or inline
    for child in children:
        _line_up(child, inline)


def _has_fields(node: yaml.Node | None) -> bool:
    return isinstance(node, yaml.MappingNode) and any(key.value == "properties" for key, _ in node.value)


def _version(catalogue: Iterable[ParameterRule]) -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(*column) for column in _COLUMNS],
        "schema": {"openAPIV3Schema": _schema(catalogue)},
        "subresources": {
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
            "status": {},
        },
    }


def _naming_known_fields(rule: ParameterRule, spec: Schema) -> ParameterRule:
    """Forget a field that this version of the API does not have: no message may send a user to it."""
    node: Any = spec
    for part in rule.field.split(".") if rule.field else ():
        node = node.get("properties", {}).get(part.removesuffix("[]"), {})
        node = node.get("items", {}) if part.endswith("[]") else node
    return rule if node else replace(rule, field=None)


def _column(name: str, kind: str, path: str, wide: bool) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    return {**column, "priority": 1} if wide else column


def _schema(catalogue: Iterable[ParameterRule]) -> Schema:
    spec = structural(PoolSpec)
    spec["description"] = "What the pool should be. See each field for its effect, default and how a change is applied."
    settings = [_naming_known_fields(rule, spec) for rule in catalogue]
    spec["properties"]["parameters"][VALIDATIONS] = [rule.validation() for rule in parameters.rules(settings)]
    status = structural(PoolStatus, defaults=False)
    status["default"] = {"conditions": [unseen()]}
    root = structural(ConnectionPool)
    return {
        "description": root["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Version of this API: {GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"Kind of this object: {KIND}."},
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}},
            "spec": spec,
            "status": status,
        },
        VALIDATIONS: root[VALIDATIONS],
    }
