"""`--rewrite-golden` writes what the code gives now; the diff is then for people to read."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="rewrite the expected files of every golden case")
