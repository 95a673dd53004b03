"""One pool for all clients. `--rewrite-clients` writes what the run found to results.json."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.clients import matrix
from tests.clients.pool import Pool
from tests.process import servers

Found = dict[str, dict[str, Any]]
Keep = Callable[[str, Found], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-clients", action="store_true", help="write the results of the clients that ran")


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """Two pods before a PostgreSQL of their own."""
    with servers.postgres() as postgres, Pool(postgres) as found:
        yield found


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Keep | None:
    """Writes the results of one client, at once; None in a run that compares."""
    return _write if request.config.getoption("--rewrite-clients") else None


def _write(client: str, found: Found) -> None:
    kept = json.loads(matrix.RESULTS.read_text(encoding="utf-8")) if matrix.RESULTS.exists() else {}
    kept[client] = found
    rows = [f"  {json.dumps(each.id)}: {_row(kept[each.id])}" for each in matrix.clients() if each.id in kept]
    matrix.RESULTS.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


def _row(found: Found) -> str:
    return "{\n" + ",\n".join(f"    {json.dumps(case)}: {json.dumps(each)}" for case, each in found.items()) + "\n  }"
