"""Generated files are committed as `make generate` writes them, and a stale one is found."""

import shutil
from pathlib import Path

import pytest
from tests import generate, generate_chart, generate_readme

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


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is generated and what it is generated from."""
    shutil.copytree(ROOT / "crds", tmp_path / "crds")
    shutil.copytree(ROOT / "charts", tmp_path / "charts")
    (tmp_path / "README.md").write_text("# Pools\n\n<!-- generated: parameters -->\n<!-- /generated -->\n\nEnd.\n")
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


def test_only_the_marked_part_of_the_readme_is_written(tree: Path) -> None:
    text = (tree / "README.md").read_text()

    assert text.startswith("# Pools\n\n<!-- generated: parameters -->\n\n| parameter |")
    assert text.endswith("|\n\n<!-- /generated -->\n\nEnd.\n")


def test_a_project_without_a_readme_has_nothing_to_fill(tree: Path) -> None:
    (tree / "README.md").unlink()

    assert generate.main([], tree) == 0
    assert not (tree / "README.md").exists()


def test_a_table_is_made_anew_and_not_added() -> None:
    text = "<!-- generated: a -->\n\nold\n\n<!-- /generated -->\nbetween\n<!-- generated: b -->\n<!-- /generated -->\n"
    once = generate_readme.filled(text, {"a": lambda: "first", "b": lambda: "second"})

    assert once == (
        "<!-- generated: a -->\n\nfirst\n\n<!-- /generated -->\nbetween\n"
        "<!-- generated: b -->\n\nsecond\n\n<!-- /generated -->\n"
    )
    assert generate_readme.filled(once, {"a": lambda: "first", "b": lambda: "second"}) == once


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "<!-- generated: colours -->\n<!-- /generated -->",
            "generated: colours --> names no table.",
        ),
        ("<!-- generated: parameters -->\nno end", "needs its own <!-- /generated -->"),
        ("<!-- generated: parameters -->\n<!-- generated: parameters -->\n<!-- /generated -->", "needs its own"),
    ],
)
def test_a_wrong_marker_is_refused_and_nothing_is_written(
    tree: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "README.md").write_text(text)

    assert generate.main([], tree) == 1
    assert words in capsys.readouterr().err
    assert (tree / "README.md").read_text() == text


def test_the_table_of_parameters_has_what_users_may_set_and_nothing_else() -> None:
    rows = generate_readme.parameter_table().splitlines()[2:]
    names = [row.split("`")[1] for row in rows]

    assert names == sorted(row.name for row in CATALOGUE if row.audience is Audience.USER)
    assert {row.replace("\\|", "").count("|") for row in rows} == {6}, "every row has five cells"


def test_text_that_looks_like_a_template_passes_through_helm_unchanged() -> None:
    assert generate_chart.literal("a {{b}} c") == 'a {{ "{{" }}b}} c'
