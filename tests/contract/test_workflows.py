"""Workflows run targets of the Makefile only, with pinned actions, and with no more rights than they need."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import documents
from tests.contract.test_document_links import makefile
from tests.localcluster import layout
from tests.release.__main__ import FOLDER

WORKFLOWS = sorted((documents.REPOSITORY / ".github/workflows").iterdir())
KEYS = {"name", "on", "permissions", "concurrency", "jobs"}
JOB_KEYS = {"name", "runs-on", "timeout-minutes", "steps", "permissions", "needs", "env"}
STEP_KEYS = {"name", "id", "if", "uses", "with", "run", "env"}
SCOPES = {"contents", "packages", "id-token", "attestations"}
# A target and its variables, whose values a shell cannot read as commands.
MAKE = re.compile(r"make( [a-z][a-z-]*)+( [A-Z]+=(\"\$[A-Z_]+\"|[\w./-]+))*")


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def jobs(path: Path) -> list[dict[str, Any]]:
    return list(read(path)["jobs"].values())


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path) for step in job["steps"]]


def lint(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What actionlint says by itself, without other linters of the machine. Skipped where there is none."""
    built = layout.from_environment().programs / "actionlint"
    found = str(built) if os.access(built, os.X_OK) else shutil.which("actionlint")
    if found is None:
        pytest.skip("needs actionlint: `python3 -m tests.localcluster build actionlint` builds it, or put it on PATH")
    return subprocess.run([found, "-shellcheck=", "-pyflakes=", *arguments], capture_output=True, text=True, timeout=60)


def test_actionlint_finds_no_fault() -> None:
    said = lint(*map(str, WORKFLOWS))
    assert said.returncode == 0, said.stdout + said.stderr


def test_actionlint_finds_a_fault(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    text = (documents.REPOSITORY / ".github/workflows/check.yml").read_text(encoding="utf-8")
    wrong.write_text(text.replace("github.ref", "github.reff"), encoding="utf-8")
    said = lint(str(wrong))
    assert said.returncode == 1
    assert 'property "reff" is not defined' in said.stdout


def test_each_workflow_is_here() -> None:
    assert [path.name for path in WORKFLOWS] == ["check.yml", "release.yml", "test.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_the_keys_that_github_knows(path: Path) -> None:
    workflow = read(path)
    assert set(workflow) <= KEYS
    assert {"name", "on", "permissions", "jobs"} <= set(workflow)
    for job in jobs(path):
        assert set(job) <= JOB_KEYS
        assert job["runs-on"] == "ubuntu-24.04"
        assert job["timeout-minutes"] > 0
        assert set(job.get("needs", ())) <= set(workflow["jobs"])
        assert all(set(step) <= STEP_KEYS and ("run" in step) != ("uses" in step) for step in job["steps"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_command_is_one_call_of_a_make_target_that_exists(path: Path) -> None:
    commands = [step["run"] for step in steps(path) if "run" in step]
    assert commands
    for command in commands:
        assert MAKE.fullmatch(command), command
        assert {word for word in command.split()[1:] if "=" not in word} <= makefile(), command


@pytest.mark.parametrize(
    "command", ["make", "make check; id", "make check\nid", "make release VERSION=$(id)", "pip install x"]
)
def test_another_command_is_noticed(command: str) -> None:
    assert not MAKE.fullmatch(command)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_a_commit_and_says_its_version(path: Path) -> None:
    lines = re.findall(r"^ *- uses: (.+)$|^ *uses: (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    used = [first or second for first, second in lines]
    assert len(used) == len([step for step in steps(path) if "uses" in step])
    assert all(re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+(\.\d+)*", each) for each in used), used


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_reads_the_repository_and_a_job_that_needs_more_says_so(path: Path) -> None:
    assert read(path)["permissions"] == {"contents": "read"}
    for job in jobs(path):
        assert set(job.get("permissions", {})) <= SCOPES
    assert "secrets." not in path.read_text(encoding="utf-8").replace("secrets.GITHUB_TOKEN", "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_checkout_leaves_no_token_behind(path: Path) -> None:
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_a_pull_request_runs_all_tests_and_never_with_rights_of_the_branch_it_goes_to() -> None:
    for name, command in (("check", "make check"), ("test", "make test")):
        (path,) = (each for each in WORKFLOWS if each.stem == name)
        assert set(read(path)["on"]) >= {"push", "pull_request"}
        assert [step["run"] for step in steps(path) if "run" in step] == [command]
    assert not [path for path in WORKFLOWS if "pull_request_target" in path.read_text(encoding="utf-8")]


def test_a_tag_makes_the_files_of_a_release_and_then_pushes_its_images_and_its_chart() -> None:
    (path,) = (each for each in WORKFLOWS if each.stem == "release")
    assert read(path)["on"] == {"push": {"tags": ["v*"]}}
    (job,) = jobs(path)
    assert job["permissions"] == {"contents": "read", "packages": "write"}
    assert [step["run"] for step in job["steps"] if "run" in step] == [
        "make check",
        'make release VERSION="$TAG" REGISTRY="$REGISTRY"',
        'make push REGISTRY="$REGISTRY"',
        'make push-chart REGISTRY="$REGISTRY"',
    ]
    assert set(job["env"]) == {"TAG", "REGISTRY"}
    (kept,) = (step["with"] for step in steps(path) if step.get("uses", "").startswith("actions/upload-artifact@"))
    assert documents.REPOSITORY / kept["path"] == FOLDER
    assert kept["if-no-files-found"] == "error"
    (login,) = (step["with"] for step in steps(path) if step.get("uses", "").startswith("docker/login-action@"))
    assert job["env"]["REGISTRY"].startswith(f"{login['registry']}/")
