"""PostgresServers and their pools, made by hand."""

import json
from typing import Any

from tests.unit.reconcile import looks

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import InvalidSpec
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.reconcile.cache import projections, views
from pgbouncer_operator.reconcile.cache.servers import KnownServer, read
from pgbouncer_operator.reconcile.cache.views import PoolView, ServerView
from pgbouncer_operator.reconcile.server.limits import LimitsReading
from pgbouncer_operator.reconcile.server.status import ServerReadings
from pgbouncer_operator.sizing.limits import ServerLimits

NAME = "platform/rds"
MONITORING: dict[str, Any] = {"secretRef": {"name": "pg-monitor"}}
LIMITS = ServerLimits(100, 3, "2026-01-01T00:00:00.000Z")
READ = ServerReadings(reading=LimitsReading(LIMITS))
TODAY = "2026-01-01T00:00:00Z"


def view(status: dict[str, Any] | None = None, **spec: Any) -> ServerView:
    """A server of 60 connections, or with another spec."""
    metadata = {"name": "rds", "namespace": "platform", "uid": "s", "resourceVersion": "7", "generation": 2}
    body = {"host": "postgres", "connections": {"max": 60}, "allowedNamespaces": {"from": "All"}} | spec
    return projections.server({"metadata": metadata, "spec": body, "status": status or {}})


def server(made: ServerView) -> PostgresServer:
    found = read(made)
    assert isinstance(found, PostgresServer)
    return found


def entry(connections: int, high: int | None = None, uid: str = "pool-uid") -> dict[str, Any]:
    """A status that gives the pool `web/shop` this."""
    one = {"pool": "web/shop", "uid": uid, "connections": connections, "high": high or connections, "seq": 4}
    return {"seq": 4, "allocations": [one]}


def member(status: dict[str, Any] | None = None, **spec: Any) -> PoolView:
    """The pool `web/shop` at that server."""
    body = looks.pool(**{"backend": {"serverRef": {"name": "rds", "namespace": "platform"}}, **spec})
    return projections.pool({**body, "status": status or {}})


def found(made: ServerView, allowed: bool | None = True) -> KnownServer:
    return KnownServer(made, read(made), allowed, None)


def ledger(text: str) -> views.ChildView:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "data": {naming.GRANTS_KEY: text}}
    metadata = {"name": "shop-grants", "namespace": "web", "uid": "l", "resourceVersion": "1"}
    return projections.child({**body, "metadata": metadata})


def invalid(made: ServerView) -> InvalidSpec:
    wrong = read(made)
    assert isinstance(wrong, InvalidSpec)
    return wrong


def wire(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(text)
    return loaded
