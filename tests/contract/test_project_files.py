"""What people and services read of the repository itself: its version, its forms for issues, its updates."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import documents
from tests.contract.chart import CHART

import pgbouncer_operator

ROOT = documents.REPOSITORY
GITHUB = ROOT / ".github"
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
# By kind of question, what it must have: https://docs.github.com/en/communities/using-templates-to-encourage-useful-issues-and-pull-requests/syntax-for-githubs-form-schema
QUESTIONS = {"markdown": {"value"}, "textarea": {"label"}, "input": {"label"}}
# By kind of update, the files that it reads: one of them is in each folder.
UPDATED = {
    "pip": "pyproject.toml",
    "gomod": "go.mod",
    "docker": "Containerfile",
    "github-actions": ".github/workflows/*.yml",
}
RELEASE = re.compile(r"(?P<version>\d+\.\d+\.\d+) \(\d{4}-\d{2}-\d{2}\)")


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def headings() -> list[str]:
    return re.findall(r"^## (.+)$", documents.text(ROOT / "CHANGELOG.md"), re.MULTILINE)


def fault(headings: list[str], version: str) -> str:
    """What is wrong with the changelog's headings, newest first, while the code has this version."""
    under_way = headings[0] == "Unreleased"
    dated = [RELEASE.fullmatch(each) for each in headings[under_way:]]
    if not all(dated):
        return "a heading is neither Unreleased, as the first, nor a version with its date: 1.2.3 (2026-12-31)"
    released = [tuple(map(int, each["version"].split("."))) for each in dated if each]
    if released != sorted(released, reverse=True) or len(set(released)) != len(released):
        return "the newest version is not the first"
    now = tuple(map(int, version.split(".")))
    if not under_way and now != released[0]:
        return f"the newest version is not {version}, the version of the code"
    if under_way and released and now <= released[0]:
        return f"{version}, the version of the code, is released: raise it"
    return ""


# The version.


def test_operator_chart_and_project_have_one_version_which_the_changelog_begins_with() -> None:
    chart = read(CHART / "Chart.yaml")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert chart["appVersion"] == chart["version"] == project["version"] == pgbouncer_operator.__version__
    assert isinstance(chart["appVersion"], str)
    assert fault(headings(), pgbouncer_operator.__version__) == ""


@pytest.mark.parametrize(
    ("headings", "words"),
    [
        (["Unreleased"], ""),
        (["0.2.0 (2026-12-01)", "0.1.10 (2026-11-01)", "0.1.9 (2026-11-01)"], ""),
        (["Unreleased", "0.1.9 (2026-11-01)"], ""),
        (["Unreleased", "0.2.0 (2026-12-01)"], "raise it"),
        (["0.1.9 (2026-11-01)"], "is not 0.2.0"),
        (["0.2.0"], "neither"),
        (["0.2.0 (2026-12-01)", "Unreleased"], "neither"),
        (["0.2.0 (2026-12-01)", "0.3.0 (2026-11-01)"], "not the first"),
    ],
)
def test_a_changelog_that_disagrees_with_the_version_is_noticed(headings: list[str], words: str) -> None:
    assert words in fault(headings, "0.2.0")
    assert bool(words) is bool(fault(headings, "0.2.0"))


# Forms.


def test_there_is_a_form_for_faults_and_one_for_wishes_and_no_way_around_them() -> None:
    assert [path.stem for path in FORMS] == ["fault", "wish"]
    assert read(GITHUB / "ISSUE_TEMPLATE/config.yml") == {"blank_issues_enabled": False}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_one_that_github_shows(path: Path) -> None:
    form = read(path)
    assert {"name", "description", "body"} <= set(form) <= {"name", "description", "title", "labels", "body"}
    assert any(question["type"] != "markdown" for question in form["body"])
    names = [question["id"] for question in form["body"] if question["type"] != "markdown"]
    assert len(names) == len(set(names))
    for question in form["body"]:
        assert set(question) <= {"type", "id", "attributes", "validations"}
        assert QUESTIONS[question["type"]] <= set(question["attributes"])
        assert set(question["attributes"]) <= QUESTIONS[question["type"]] | {"description", "render", "placeholder"}


def test_a_fault_comes_with_what_is_needed_to_repeat_it() -> None:
    questions = read(GITHUB / "ISSUE_TEMPLATE/fault.yml")["body"]
    required = {each["id"] for each in questions if each.get("validations", {}).get("required")}
    assert {"happened", "manifest", "repeat", "version", "kubernetes", "postgresql"} <= required


@pytest.mark.parametrize("path", [ROOT / "SECURITY.md", *sorted(GITHUB.rglob("*.md"))], ids=lambda path: path.name)
def test_no_address_is_invented(path: Path) -> None:
    """What is private goes by GitHub's own reports; a mailbox that nobody reads would lose them."""
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w+", documents.text(path))


# Updates.


def test_every_folder_that_gets_updates_has_something_to_update() -> None:
    found = read(GITHUB / "dependabot.yml")
    assert found["version"] == 2
    assert [each["package-ecosystem"] for each in found["updates"]] == list(UPDATED)
    for each in found["updates"]:
        for folder in each.get("directories", [each.get("directory")]):
            starts = list(ROOT.glob(folder.strip("/"))) if folder != "/" else [ROOT]
            assert starts, folder
            assert all(list(start.glob(UPDATED[each["package-ecosystem"]])) for start in starts if start.is_dir())


def test_every_go_module_and_every_image_of_ours_gets_updates() -> None:
    kinds = {each["package-ecosystem"]: each["directories"] for each in read(GITHUB / "dependabot.yml")["updates"][1:3]}
    for kind in ("gomod", "docker"):
        covered = {path.parent for folder in kinds[kind] for path in ROOT.glob(f"{folder.strip('/')}/{UPDATED[kind]}")}
        there = {path.parent for top in ("operator", "tests") for path in (ROOT / top).rglob(UPDATED[kind])}
        assert covered == {path for path in there if not path.is_relative_to(ROOT / "tests/clients")}
