"""Reading a pool: its shape by the models, its parameters by the catalogue of PgBouncer's settings. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from pgbouncer_operator.api.connection_pool import ConnectionPool, FieldProblem, InvalidSpec, parse
from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.reconcile.cache.views import PoolView


def read(body: Mapping[str, Any]) -> ConnectionPool:
    """The pool. Raises InvalidSpec with every fault, as the API server would have told it."""
    pool = parse(body)
    found = (parameters.check(name, value) for name, value in sorted((pool.spec.parameters or {}).items()))
    problems = [FieldProblem(f"spec.parameters[{each.name}]", each.message) for each in found if each]
    if problems:
        raise InvalidSpec(problems)
    return pool


def parsed(view: PoolView) -> ConnectionPool | InvalidSpec:
    """The pool as its user wrote it, or what is wrong with it."""
    metadata = {"name": view.name, "namespace": view.namespace, "uid": view.uid, "generation": view.generation}
    try:
        return read({"metadata": metadata, "spec": json.loads(view.spec)})
    except InvalidSpec as error:
        return error
