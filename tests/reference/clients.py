"""Clients behind transaction pooling, and which of them the tests run through a pool."""

import tomllib
from pathlib import Path
from typing import Any

from tests.reference.markdown import table

SOURCE = Path(__file__).with_name("clients.toml")


def rows() -> list[dict[str, Any]]:
    """name, defaults and also of each client; tested: the file of the test that runs it, if there is one."""
    found: list[dict[str, Any]] = tomllib.loads(SOURCE.read_text(encoding="utf-8"))["client"]
    return found


def clients() -> str:
    """One row a client."""
    cells = [
        (row["name"], "tested" if row.get("tested") else "untested", row["defaults"], row["also"]) for row in rows()
    ]
    return table(("client", "by us", "with its defaults", "also"), cells)
