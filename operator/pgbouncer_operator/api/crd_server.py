"""The CustomResourceDefinition of PostgresServer. Pure and deterministic."""

from typing import Any

from pgbouncer_operator.api.conditions import unseen
from pgbouncer_operator.api.definition import READY, Column, Definition
from pgbouncer_operator.api.postgres_server import PostgresServer, ServerSpec, ServerStatus
from pgbouncer_operator.api.schema import structural
from pgbouncer_operator.naming import GROUP, SERVER_KIND, SERVER_PLURAL, SERVER_SHORT_NAMES, SERVER_SINGULAR

FILE = f"{SERVER_PLURAL}.{GROUP}.yaml"

_COLUMNS = (
    Column("Ready", "string", f"{READY}.status"),
    Column("Reason", "string", f"{READY}.reason"),
    Column("Max", "integer", ".status.limits.maxConnections"),
    Column("Budget", "integer", ".status.budget"),
    Column("Allocated", "integer", ".status.allocated"),
    Column("Pools", "integer", ".status.pools"),
    Column("Age", "date", ".metadata.creationTimestamp"),
)


def render() -> dict[str, Any]:
    """The CRD as a JSON value."""
    spec, status = structural(ServerSpec), structural(ServerStatus, defaults=False)
    spec["description"] = "What the server is, and who may use how much of it. See each field."
    status["default"] = {"conditions": [unseen()]}
    return Definition(
        kind=SERVER_KIND,
        plural=SERVER_PLURAL,
        singular=SERVER_SINGULAR,
        short_names=SERVER_SHORT_NAMES,
        columns=_COLUMNS,
        description=structural(PostgresServer)["description"],
        spec=spec,
        status=status,
    ).render()
