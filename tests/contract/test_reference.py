"""The reference pages say what the code does, and leave nothing out."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests import generate_docs
from tests.clients import matrix
from tests.reference import clients, commands, conditions, fields, markdown, metrics, names

from pgbouncer_operator import cli, naming
from pgbouncer_operator.agent import metrics as agent
from pgbouncer_operator.api.conditions import ConditionType, Reason
from pgbouncer_operator.metrics import Metrics
from pgbouncer_operator.protocol.reasons import ProblemReason
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.server.limits import ServerAdvice
from pgbouncer_operator.reconcile.status.advice import PoolAdvice
from pgbouncer_operator.sizing.demand import SizingReason

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / generate_docs.DOCS / "reference"
DEFINITIONS = {"ConnectionPool": fields.pool_schema(), "PostgresServer": fields.server_schema()}


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def first_cells(text: str) -> list[str]:
    """What the first cell of each row names as code."""
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def section(name: str, title: str) -> str:
    """The text below a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", page(name), re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def test_every_generated_table_is_on_exactly_one_page() -> None:
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / generate_docs.DOCS).rglob("*.md")]
    found = [name for text in pages for name in re.findall(r"<!-- generated: ([\w-]+) -->", text)]
    assert sorted(found) == sorted(generate_docs.TABLES)


# Fields.


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_every_field_of_the_definition_has_one_row(kind: str) -> None:
    text = page("fields.md")
    for top in ("spec", "status"):
        part = text.partition(f"\n## {kind}, {top}\n")[2].partition("\n## ")[0]
        assert first_cells(part) == list(paths(top, DEFINITIONS[kind][top]))


def paths(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    for key, child in schema.get("properties", {}).items():
        yield f"{path}.{key}"
        yield from paths(f"{path}.{key}", child)
        yield from paths(f"{path}.{key}[]", child.get("items", {}))


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_no_word_of_a_description_is_lost(kind: str) -> None:
    for field in fields.walk_below("spec", DEFINITIONS[kind]):
        text = field.schema["description"]
        shown = " ".join(fields.described(text)).split()
        assert sorted(word.strip(".") for word in shown) == sorted(
            word.strip(".") for word in re.sub(r"Default: |(?<=\. )Required\.", "", text).split()
        )


def test_a_description_is_split_by_its_sentences() -> None:
    text = "TCP port. Default: 5432. PgBouncer's port. A change is reloaded. Clients notice nothing."
    assert fields.described(text) == (
        "TCP port. PgBouncer's port.",
        "5432",
        "A change is reloaded. Clients notice nothing.",
    )


def test_a_default_of_the_definition_is_shown() -> None:
    rows = {row.split("`")[1]: row for row in page("fields.md").splitlines() if row.startswith("| `spec.")}
    assert "| 1 … 65535 | 5432 |" in rows["spec.port"].replace("integer; ", "| ")
    assert "| required |" in rows["spec.databases[].name"]
    assert "| Same |" in rows["spec.allowedNamespaces.from"]


# Conditions.


def test_every_condition_reason_and_advice_is_documented_and_no_other() -> None:
    assert first_cells(section("conditions.md", "Types")) == [each.value for each in ConditionType]
    assert set(first_cells(section("conditions.md", "Reasons and remedies"))) == {each.value for each in Reason}
    subjects = [each.value for each in (*PoolAdvice, *ServerAdvice)]
    assert sorted(first_cells(section("conditions.md", "Advice"))) == sorted(subjects)
    recommended = {each.value for each in SizingReason} | {PoolAdvice.CLIENTS_UNKNOWN.value}
    assert set(first_cells(section("conditions.md", "Recommendation"))) == recommended


def test_a_condition_type_without_a_meaning_stops_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(conditions.TYPES, ConditionType.PAUSED)
    with pytest.raises(ValueError, match=r"says nothing of Paused: add a row"):
        conditions.types()


# Metrics.


def served(text: str) -> set[str]:
    return {
        each.name + ("_total" if each.type == "counter" else "")
        for each in text_string_to_metric_families(text)
        if not each.name.startswith((metrics.OF_PROCESS, "pgbouncer_operator_api_requests_created"))
    }


def test_every_metric_that_a_fresh_operator_serves_is_documented_and_no_other() -> None:
    named = set(first_cells(section("metrics.md", "The operator")))
    assert {each for each in served(Metrics().text().decode()) if not each.endswith("_created")} == named


def test_every_metric_that_a_pod_serves_is_documented_and_no_other() -> None:
    named = set(first_cells(section("metrics.md", "A pod"))) - {each.value for each in ProblemReason}
    silent = served(agent.render(None, AgentState("uid", "1"), None, {}))
    assert silent <= named
    tables = {
        *(f"pgbouncer_pool_{name}" for name, _ in agent.POOLS.values()),
        *(f"pgbouncer_database_{name}" for name, _ in agent.DATABASES.values()),
        *(f"pgbouncer_stats_{name}_total" for name, *_ in agent.STATS.values()),
    }
    assert tables <= named
    later = {
        f"pgbouncer_operator_agent_{each}"
        for each in ("backend_ok", "clients_max", "reload_seconds", "drain_clients", "drain_seconds")
    }
    assert named == silent | tables | later


def test_a_metric_that_appears_only_later_is_documented_too() -> None:
    named = {each.removesuffix("_info").removesuffix("_total") for each in first_cells(section("metrics.md", "A pod"))}
    written = set(re.findall(r'"(pgbouncer_\w+)"', Path(agent.__file__).read_text(encoding="utf-8")))
    assert len(written) > 5
    lost = written - named
    assert not lost, f"tests/reference/metrics.py: pod() has no sample of {', '.join(sorted(lost))}"


def test_a_metric_of_a_status_is_documented_with_its_labels() -> None:
    rows = re.findall(
        r"^\| `pgbouncer_operator_(?:pool|server)_.*", section("metrics.md", "The operator"), re.MULTILINE
    )
    assert len(rows) > 5
    for row in rows:
        assert "| `namespace`, " in row, f"tests/reference/metrics.py: _ONE_OF_STATUS has no sample of {row}"


def test_every_problem_of_a_pod_is_documented() -> None:
    words = set(first_cells(section("metrics.md", "A pod")))
    assert {each.value for each in ProblemReason} <= words
    assert {"left", "closed", "cut"} <= set(re.findall(r"`(\w+)`", section("metrics.md", "A pod")))


def test_a_metric_row_says_labels_and_unit() -> None:
    text = page("metrics.md")
    assert "| `pgbouncer_pool_clients_waiting` | gauge | `database`, `user` | count |" in text
    assert "| `pgbouncer_stats_wait_seconds_total` | counter | `database` | seconds |" in text
    assert "| `pgbouncer_operator_api_request_seconds` | histogram | `verb` | seconds |" in text


# Names and commands.


def test_a_constant_without_a_row_stops_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "ANNOTATION_COLOUR", "colour", raising=False)
    with pytest.raises(ValueError, match="ANNOTATION_COLOUR is a row or a constant"):
        names.annotations()


def test_every_command_and_argument_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    listed = re.findall(r"^    ([\w-]+)(?: |$)", capsys.readouterr().out, re.MULTILINE)
    assert set(re.findall(r"^### `([\w-]+)`$", page("cli.md"), re.MULTILINE)) == set(listed)
    for option in ("--pool-image", "--role", "--schema"):
        assert f"| `{option}` |" in page("cli.md")


def test_a_variable_without_a_meaning_stops_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(commands.MEANINGS, "WORKERS")
    with pytest.raises(ValueError, match="WORKERS is a variable or a meaning"):
        commands.variables()


# Tables.


@pytest.mark.parametrize(
    ("cell", "shown"),
    [("a | b", "a \\| b"), ("<pool>-direct", "&lt;pool>-direct"), ("`<pool>` and <x>", "`<pool>` and &lt;x>")],
)
def test_a_cell_is_what_markdown_shows(cell: str, shown: str) -> None:
    assert markdown.table(["x"], [[cell]]).splitlines()[-1] == f"| {shown} |"


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.md")), ids=lambda path: path.name)
def test_every_row_has_the_cells_of_its_head(path: Path) -> None:
    for rows in blocks_of_rows(path.read_text(encoding="utf-8").splitlines()):
        assert len({row.replace("\\|", "").count("|") for row in rows}) == 1, rows[0]


def blocks_of_rows(lines: Iterable[str]) -> Iterator[list[str]]:
    rows: list[str] = []
    for line in [*lines, ""]:
        if line.startswith("|"):
            rows.append(line)
        elif rows:
            yield rows
            rows = []


def test_a_tested_client_has_a_test() -> None:
    tested = [row for row in clients.rows() if row.get("tested")]
    assert "psql 18" in {row["name"] for row in tested}
    for row in clients.rows():
        assert f"| {row['name']} | {'tested' if row in tested else 'untested'} |" in page("clients.md")
    for row in tested:
        word = row["name"].split()[0].removeprefix("node-")
        assert word in (ROOT / row["tested"]).read_text(encoding="utf-8")


def test_every_client_of_the_matrix_has_the_results_of_its_own_cases() -> None:
    found = matrix.results()
    assert list(found) == [each.id for each in matrix.clients()]
    for client in matrix.clients():
        wanted = [each.id for each in matrix.cases_of(client)]
        assert list(found[client.id]) == wanted, f"{client.id}: make test-clients CLIENTS=--rewrite-clients"


def test_a_client_that_is_set_up_for_rolls_has_no_failed_transaction_in_one() -> None:
    failed = {each.id: matrix.results()[each.id]["roll"]["failed"] for each in matrix.clients() if each.seamless}
    assert failed
    assert set(failed.values()) == {0}


def test_a_client_that_fails_has_a_sentence_on_what_to_do() -> None:
    for client in matrix.clients():
        if set(matrix.outcomes(matrix.results()[client.id]).values()) != {matrix.WORKS}:
            assert client.also, client.id
