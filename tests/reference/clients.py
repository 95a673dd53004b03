"""Clients behind transaction pooling: what the tests of tests/clients found, and what others say of the rest."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.clients import matrix
from tests.clients.matrix import WORKS, Case, Client
from tests.reference.markdown import table

SOURCE = Path(__file__).with_name("clients.toml")
COLUMNS = ("queries", "prepared", "transactions", "functions", "roll")
Found = Mapping[str, Mapping[str, Any]]


def rows() -> list[dict[str, Any]]:
    """name, defaults and also of each further client; tested: the file of the test that runs it, if there is one."""
    found: list[dict[str, Any]] = tomllib.loads(SOURCE.read_text(encoding="utf-8"))["client"]
    return found


def clients() -> str:
    """One row for each client of the matrix and each way to use it. KeyError: results.json has no such client."""
    found = matrix.results()
    head = ("client", "version", "set", *COLUMNS, "also")
    return table(head, [_row(each, found[each.id]) for each in matrix.clients()])


def cases() -> str:
    """What stands behind each column."""
    return table(("column", "what the client does"), [(each.column or "also", each.what) for each in matrix.cases()])


def others() -> str:
    """One row for each client that is not in the matrix."""
    cells = [
        (row["name"], "tested" if row.get("tested") else "untested", row["defaults"], row["also"]) for row in rows()
    ]
    return table(("client", "by us", "with its defaults", "also"), cells)


def _row(client: Client, found: Found) -> tuple[str, ...]:
    also = [client.also, _extra(client, found)]
    cells = (_cell(column, client, found) for column in COLUMNS)
    return (
        client.name,
        matrix.version(client),
        client.setting or "nothing",
        *cells,
        " ".join(each for each in also if each),
    )


def _cell(column: str, client: Client, found: Found) -> str:
    """One word if all cases of the column work, else the cases that do not and what they said."""
    chosen = [each for each in matrix.cases() if each.column == column]
    here = [each for each in chosen if each.id in found]
    faults = [_fault(each, found[each.id], len(here)) for each in here if found[each.id]["outcome"] != WORKS]
    if faults:
        return "; ".join(faults)
    if not here:
        return "; ".join(client.lacks[each.id] for each in chosen)
    if column == "roll":
        return f"{found['roll']['failed']} of {found['roll']['done'] + found['roll']['failed']} failed"
    return WORKS


def _fault(case: Case, found: Mapping[str, Any], columns: int) -> str:
    name = f"{case.id} " if columns > 1 else ""
    return f"{name}fails: `{found['error'].replace('`', '')}`"


def _extra(client: Client, found: Found) -> str:
    """A sentence on the cases that only some clients have."""
    works = [each for each in client.extra if found[each]["outcome"] == WORKS]
    fails = [f"{each} fails: `{found[each]['error']}`." for each in client.extra if each not in works]
    return " ".join([f"Works: {', '.join(works)}."] * bool(works) + fails)
