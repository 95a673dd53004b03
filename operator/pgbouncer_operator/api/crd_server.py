"""The CustomResourceDefinition of PostgresServer, made of its models. Pure and deterministic."""

from typing import Any

from pgbouncer_operator.api.conditions import unseen
from pgbouncer_operator.api.postgres_server import PostgresServer, ServerSpec, ServerStatus
from pgbouncer_operator.api.schema import Schema, structural
from pgbouncer_operator.naming import (
    CATEGORY,
    GROUP,
    LABEL_NAME,
    MANAGED_BY,
    SERVER_KIND,
    SERVER_PLURAL,
    SERVER_SHORT_NAMES,
    SERVER_SINGULAR,
    VERSION,
)

NAME = f"{SERVER_PLURAL}.{GROUP}"
FILE = f"{NAME}.yaml"
_READY = '.status.conditions[?(@.type=="Ready")]'
_COLUMNS = (
    ("Ready", "string", f"{_READY}.status"),
    ("Reason", "string", f"{_READY}.reason"),
    ("Max", "integer", ".status.limits.maxConnections"),
    ("Budget", "integer", ".status.budget"),
    ("Allocated", "integer", ".status.allocated"),
    ("Pools", "integer", ".status.pools"),
    ("Age", "date", ".metadata.creationTimestamp"),
)


def render() -> dict[str, Any]:
    """Return the CRD as a JSON value."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME, "labels": {LABEL_NAME: MANAGED_BY}},
        "spec": {
            "group": GROUP,
            "names": {
                "categories": [CATEGORY],
                "kind": SERVER_KIND,
                "listKind": f"{SERVER_KIND}List",
                "plural": SERVER_PLURAL,
                "shortNames": list(SERVER_SHORT_NAMES),
                "singular": SERVER_SINGULAR,
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path} for name, kind, path in _COLUMNS
                    ],
                    "schema": {"openAPIV3Schema": _schema()},
                    "subresources": {"status": {}},
                }
            ],
        },
    }


def _schema() -> Schema:
    spec = structural(ServerSpec)
    spec["description"] = "What the server is, and who may use how much of it. See each field."
    status = structural(ServerStatus, defaults=False)
    status["default"] = {"conditions": [unseen()]}
    return {
        "description": structural(PostgresServer)["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Version of this API: {GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"Kind of this object: {SERVER_KIND}."},
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}},
            "spec": spec,
            "status": status,
        },
    }
