"""Which of the machine's programs are new enough; a small script stands for each."""

from pathlib import Path

import pytest
from tests.localcluster import layout, machine, recipes
from tests.localcluster.layout import Layout

KIND = recipes.required_version("kind", "sigs.k8s.io/kind")


@pytest.fixture
def files(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "cache", layout.kubernetes_version("1.36"))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that is all of PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


def installed(path: Path, name: str, says: str) -> str:
    program = path / name
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("kind", f"echo kind {KIND} go1.26.0 linux/amd64"),
        ("kind", "echo kind v1.0.0 go1.30 linux/amd64"),
        ("kubectl", "echo Client Version: v1.35.0"),
        ("kubectl", "echo Client Version: v1.37.2"),
        ("helm", "echo v4.1.0+g4553a0a"),
        ("helm", "echo v3.18.4+gd80839c"),
    ],
)
def test_a_program_that_is_new_enough_is_used(path: Path, files: Layout, name: str, says: str) -> None:
    found = installed(path, name, says)

    assert not machine.lacks(name, files)
    assert machine.program(name, files) == found


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("kind", "echo kind v0.27.0 go1.24.2 linux/amd64"),
        ("kubectl", "echo Client Version: v1.32.0"),
        ("helm", "echo v2.17.0+ga690bad"),
        ("kind", "echo no version"),
        ("kind", "exit 1"),
    ],
)
def test_one_that_is_older_or_fails_is_replaced_by_ours(path: Path, files: Layout, name: str, says: str) -> None:
    installed(path, name, says)

    assert machine.lacks(name, files)
    assert machine.program(name, files) == str(files.programs / name)


@pytest.mark.usefixtures("path")
def test_one_that_is_missing_is_replaced_by_ours(files: Layout) -> None:
    assert machine.lacks("kind", files)
    assert machine.program("kind", files) == str(files.programs / "kind")
