from pathlib import Path

import pytest
from tests.localcluster import binaries
from tests.localcluster.layout import Layout
from tests.localcluster.recipes import Recipe

ETCD = Recipe("etcd", "etcd", ".")


@pytest.fixture
def files(tmp_path: Path) -> Layout:
    found = Layout(tmp_path, "v1.2.3")
    found.programs.mkdir(parents=True)
    found.recipes.mkdir(parents=True)
    return found


def put(files: Layout, program: str, fingerprint: str) -> None:
    (files.programs / program).write_text("a program")
    (files.recipes / program).write_text(fingerprint)


def test_a_program_that_was_built_from_the_recipe_is_not_built_again(files: Layout) -> None:
    put(files, "etcd", ETCD.fingerprint())

    assert binaries.stale([ETCD], files) == []


def test_a_program_of_another_recipe_is_built_again(files: Layout) -> None:
    put(files, "etcd", "older")

    assert binaries.stale([ETCD], files) == [ETCD]


def test_a_program_without_its_stamp_is_built_again_because_the_build_was_killed(files: Layout) -> None:
    put(files, "etcd", ETCD.fingerprint())
    (files.recipes / "etcd").unlink()

    assert binaries.stale([ETCD], files) == [ETCD]


def test_a_stamp_without_its_program_does_not_count(files: Layout) -> None:
    put(files, "etcd", ETCD.fingerprint())
    (files.programs / "etcd").unlink()

    assert binaries.stale([ETCD], files) == [ETCD]
