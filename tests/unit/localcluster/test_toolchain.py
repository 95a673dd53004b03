from pathlib import Path

import pytest
from tests.localcluster import toolchain


@pytest.mark.parametrize(
    ("version", "enough"),
    [
        ("go1.26.0", True),
        ("go1.26rc1\n", True),
        ("go1.27.3", True),
        ("go2.0", True),
        ("go1.19.8", False),
        ("go1.9", False),
        ("devel +abc", False),
        ("", False),
    ],
)
def test_go_is_new_enough(version: str, enough: bool) -> None:
    assert toolchain.new_enough(version) is enough


def test_a_go_that_is_not_there_is_not_usable(tmp_path: Path) -> None:
    assert not toolchain.usable(str(tmp_path / "go"))


def test_a_go_that_fails_is_not_usable(tmp_path: Path) -> None:
    program = tmp_path / "go"
    program.write_text("#!/bin/sh\necho go1.99\nexit 1\n")
    program.chmod(0o755)

    assert not toolchain.usable(str(program))
