"""Real clients through a pool in transaction mode with its default settings: what they say, and what PostgreSQL has."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.clients import matrix, program, tools
from tests.clients.matrix import Case, Client
from tests.clients.pool import Pool
from tests.process.marks import PROCESS

pytestmark = PROCESS
WORKERS = 4  # that insert rows in a roll; a pod that leaves closes each one's connection once at most


@pytest.mark.parametrize("client", matrix.clients(), ids=lambda client: client.id)
def test_a_client_does_through_a_pool_what_the_page_says(
    client: Client, pool: Pool, keep: Callable[[str, dict[str, Any]], None] | None
) -> None:
    argv = tools.command(client)
    environment = {"DATABASE_URL": pool.url, "CLIENT": client.id, **client.environment}
    cases = matrix.cases_of(client)
    said = program.run(argv, environment, [each.id for each in cases if each.process == "shared"])
    found = {}
    for case in cases:
        match case.id:
            case "roll":
                found[case.id] = _roll(client, pool, argv, environment)
            case "cold":
                found[case.id] = _result(case, program.run(argv, environment, ["cold"])["cold"], pool, client)
            case _:
                found[case.id] = _result(case, said[case.id], pool, client)
    print(client.id, found, flush=True)
    errors = [each["error"] for each in found.values() if each["outcome"] != matrix.WORKS]
    if client.race or client.by_chance:
        assert errors or client.by_chance
        assert all((client.race or client.by_chance) in each for each in errors), errors
    if keep:
        keep(client.id, found)
    elif not (client.race or client.by_chance):
        assert matrix.outcomes(found) == matrix.outcomes(matrix.results()[client.id]), found


def _result(case: Case, said: Mapping[str, Any], pool: Pool, client: Client) -> dict[str, Any]:
    """The outcome of a case; PostgreSQL has the last word on its rows."""
    rows = pool.witnesses(client.id, case.id)
    if not said["ok"]:
        return {"outcome": "fails", "error": said["error"].splitlines()[0][:200]}
    assert rows == case.rows, f"{client.id}, {case.id}: PostgreSQL has {rows} rows of {case.rows}"
    return {"outcome": matrix.WORKS, "rows": rows}


def _roll(client: Client, pool: Pool, argv: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    def meanwhile(ended: Callable[[], bool]) -> None:
        pool.roll(lambda: pool.witnesses(client.id, "roll"), ended)

    said = program.run_through(argv, environment, "roll", meanwhile)
    print(client.id, said, flush=True)
    if not said["ok"]:
        return {"outcome": "fails", "error": said["error"].splitlines()[0][:200]}
    rows = pool.witnesses(client.id, "roll")
    assert said["done"] <= rows <= said["done"] + said["failed"], f"{rows} rows for {said}"
    assert said["failed"] <= (0 if client.seamless else WORKERS), said
    return {"outcome": matrix.WORKS, "done": said["done"], "failed": said["failed"]}
