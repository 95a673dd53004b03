"""Reading a pool: its shape by the models, its parameters by the catalogue of PgBouncer's settings. Pure."""

from collections.abc import Mapping
from typing import Any

from pgbouncer_operator.api.connection_pool import ConnectionPool, InvalidSpec, Problem, parse
from pgbouncer_operator.pgbouncer import parameters


def read(body: Mapping[str, Any]) -> ConnectionPool:
    """The pool. Raises InvalidSpec with every fault, as the API server would have told it."""
    pool = parse(body)
    found = (parameters.check(name, value) for name, value in sorted((pool.spec.parameters or {}).items()))
    problems = [Problem(f"spec.parameters[{each.name}]", each.message) for each in found if each]
    if problems:
        raise InvalidSpec(problems)
    return pool
