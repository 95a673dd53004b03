"""What `auth-query-sql` prints; a real PostgreSQL runs it in tests/process."""

import pytest

from pgbouncer_operator.api.access import LOOKUP_FUNCTION
from pgbouncer_operator.cli import main
from pgbouncer_operator.pgbouncer import lookup


def test_the_function_it_installs_is_the_one_that_a_pool_asks_by_default() -> None:
    assert f"{lookup.SCHEMA}.{lookup.FUNCTION}" == LOOKUP_FUNCTION


def test_the_command_prints_it_with_the_names_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["auth-query-sql", "--role", "finder", "--schema", "tools"]) == 0
    assert capsys.readouterr().out == lookup.install("finder", "tools")


def test_no_name_can_leave_its_quotes() -> None:
    text = lookup.install("o'b\"$do$\\")
    assert '"o\'b""$do$\\"' in text
    assert "E'o''b\"$do$\\\\'" in text
    assert text.count("$do_$") == 2


@pytest.mark.parametrize(
    ("role", "schema", "word"),
    [
        ("", "pgbouncer", "role"),
        ("ü" * 32, "pgbouncer", "role"),
        ("a\x00b", "pgbouncer", "role"),
        ("finder", "My Tools", "schema"),
        ("finder", "a.b", "schema"),
        ("finder", "a" * 64, "schema"),
    ],
)
def test_a_name_that_would_not_work_is_refused(
    role: str, schema: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["auth-query-sql", "--role", role, "--schema", schema]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert word in told.err
