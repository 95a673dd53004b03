"""The reference pages say what the code does, and leave nothing out."""

import re
import tomllib
from pathlib import Path
from typing import Any

from tests import generate_docs

from pgbouncer_operator.api.conditions import Reason

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / generate_docs.DOCS / "reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def test_every_generated_table_is_on_exactly_one_page() -> None:
    found = [
        name for each in REFERENCE.glob("*.md") for name in re.findall(r"<!-- generated: ([\w-]+) -->", page(each.name))
    ]
    assert sorted(found) == sorted(generate_docs.TABLES)


def test_every_reason_is_documented() -> None:
    assert set(re.findall(r"^\| `(\w+)`", page("conditions.md"), re.MULTILINE)) == {each.value for each in Reason}


def test_a_tested_client_has_a_test() -> None:
    table = generate_docs.client_table()
    tested = [row for row in clients() if row.get("tested")]
    assert {"psql 18", "psycopg 3", "asyncpg", "node-postgres (pg)"} <= {row["name"] for row in tested}
    for row in clients():
        assert f"| {row['name']} | {'tested' if row in tested else 'untested'} |" in table
    for row in tested:
        word = row["name"].split()[0].removeprefix("node-")
        assert word in (ROOT / row["tested"]).read_text(encoding="utf-8")


def clients() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tomllib.loads(generate_docs.CLIENTS.read_text(encoding="utf-8"))["client"]
    return rows
