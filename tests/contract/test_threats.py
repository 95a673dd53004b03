"""The threat table of the page on security: every row names tests, and every test that it names exists."""

import ast
import re

import pytest
from tests import documents

PAGE = documents.DOCS / "explanation" / "security.md"
TESTS = documents.REPOSITORY / "tests"
ACTORS = (
    "A client", "A tenant with `edit`", "A tenant with `admin`", "A server's owner", "A pod on the network",
    "A hostile server", "Somebody in a pod",
)  # fmt: skip
NAMED = re.compile(r"`([a-z]+/[a-z_/]+[.]py)::(test_\w+)`")


def rows() -> list[tuple[str, str]]:
    """Every row of the table, with the heading above it."""
    found, heading = [], ""
    text = PAGE.read_text(encoding="utf-8").partition("## Who can do what")[2].partition("\n## ")[0]
    for line in text.splitlines():
        if line.startswith("### "):
            heading = line.removeprefix("### ")
        elif line.startswith("| ") and not line.startswith("| it may"):
            found.append((heading, line))
    return found


def names_in(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_actor_has_a_table() -> None:
    headings = [heading for heading, _ in rows()]
    assert [actor for actor in ACTORS if not any(heading.startswith(actor) for heading in headings)] == []


@pytest.mark.parametrize("row", [row for _, row in rows()], ids=lambda row: row.split(" | ")[0].removeprefix("| ")[:60])
def test_a_row_names_tests_that_exist(row: str) -> None:
    named = NAMED.findall(row)
    assert named, row
    assert row.count(".py::") == len(named)
    for path, name in named:
        assert name in names_in(path), f"{path} has no {name}"
