"""Generated files are committed as `make generate` writes them, and a stale one is found."""

import shutil
from pathlib import Path

import pytest
from tests import generate, generate_chart, generate_docs
from tests.reference import settings

from pgbouncer_operator.pgbouncer.parameters import CATALOGUE, Audience

ROOT = Path(__file__).parents[2]
MADE = (
    "charts/pgbouncer-operator/README.md",
    "charts/pgbouncer-operator/templates/crds.yaml",
    "charts/pgbouncer-operator/templates/crds-postgresserver.yaml",
    "crds/connectionpools.pgbouncer-operator.io.yaml",
    "crds/kustomization.yaml",
    "crds/postgresservers.pgbouncer-operator.io.yaml",
)

PAGE = Path("operator/docs/reference/settings.md")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is generated and what it is generated from."""
    shutil.copytree(ROOT / "crds", tmp_path / "crds")
    shutil.copytree(ROOT / "charts", tmp_path / "charts")
    (tmp_path / PAGE).parent.mkdir(parents=True)
    (tmp_path / PAGE).write_text("# Pools\n\n<!-- generated: settings -->\n<!-- /generated -->\n\nEnd.\n")
    generate.main([], tmp_path)
    return tmp_path


def test_no_generated_file_is_stale() -> None:
    assert generate.stale(ROOT, generate.files(ROOT)) == []


def test_what_was_written_is_not_stale(tree: Path) -> None:
    assert generate.main(["--check"], tree) == 0


def test_files_that_were_edited_or_removed_are_named_and_written_again(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: (tree / path).read_text() for path in MADE}
    capsys.readouterr()

    for path in MADE[:2]:
        (tree / path).write_text("edited\n")
    for path in MADE[2:]:
        (tree / path).unlink()
    assert generate.main(["--check"], tree) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" is stale. Run `make generate`")[0] for line in said] == sorted(MADE)
    assert not any((tree / path).exists() for path in MADE[2:]), "--check writes nothing"
    assert generate.main([], tree) == 0
    assert {path: (tree / path).read_text() for path in MADE} == before


def test_only_the_marked_part_of_a_page_is_written(tree: Path) -> None:
    text = (tree / PAGE).read_text()

    assert text.startswith("# Pools\n\n<!-- generated: settings -->\n\n| parameter |")
    assert text.endswith("|\n\n<!-- /generated -->\n\nEnd.\n")


def test_a_page_without_a_marker_is_not_generated(tree: Path) -> None:
    (tree / PAGE).write_text("# Pools\n")

    assert PAGE not in generate.files(tree)


def test_a_table_is_replaced_and_not_added() -> None:
    text = "<!-- generated: a -->\n\nold\n\n<!-- /generated -->\nbetween\n<!-- generated: b -->\n<!-- /generated -->\n"
    tables = {"a": lambda: "first", "b": lambda: "second"}
    once = generate_docs.filled(PAGE, text, tables)

    assert once == (
        "<!-- generated: a -->\n\nfirst\n\n<!-- /generated -->\n"
        "between\n<!-- generated: b -->\n\nsecond\n\n<!-- /generated -->\n"
    )
    assert generate_docs.filled(PAGE, once, tables) == once


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "<!-- generated: colours -->\n<!-- /generated -->",
            "generated: colours --> names no table.",
        ),
        ("<!-- generated: settings -->\nno end", "needs its own <!-- /generated -->"),
        ("<!-- generated: settings -->\n<!-- generated: settings -->\n<!-- /generated -->", "needs its own"),
    ],
)
def test_a_wrong_marker_is_refused_and_nothing_is_written(
    tree: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / PAGE).write_text(text)

    assert generate.main([], tree) == 1
    assert f"{PAGE}: " in (said := capsys.readouterr().err)
    assert words in said
    assert (tree / PAGE).read_text() == text


def test_the_table_of_settings_has_what_users_may_set_and_nothing_else() -> None:
    rows = settings.free().splitlines()[2:]
    names = [row.split("`")[1] for row in rows]

    assert names == sorted(row.name for row in CATALOGUE if row.audience is Audience.USER)
    refused = {row.split("`")[1] for row in settings.reserved().splitlines()[2:]}
    assert refused == {row.name for row in CATALOGUE} - set(names)


def test_text_that_looks_like_a_template_passes_through_helm_unchanged() -> None:
    assert generate_chart.literal("a {{b}} c") == 'a {{ "{{" }}b}} c'
