"""Reads a pool's spec: its shape by the models of `api`, its parameters by the catalogue of settings. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from pgbouncer_operator.api.connection_pool import ConnectionPool, FieldProblem, InvalidSpec, parse
from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.reconcile.cache.views import PoolView


def read(body: Mapping[str, Any]) -> ConnectionPool:
    """The pool. Raises InvalidSpec with every fault, in the words of the API server."""
    pool = parse(body)
    checked = (parameters.check(name, value) for name, value in sorted((pool.spec.parameters or {}).items()))
    problems = [FieldProblem(f"spec.parameters[{each.name}]", each.message) for each in checked if each]
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
