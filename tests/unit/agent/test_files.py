"""Files in the run directory."""

from pathlib import Path

import pytest

from pgbouncer_operator.agent import files


def test_a_write_that_does_not_fit_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write({str(tmp_path / "userlist.txt"): b"old"})

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            files.write({str(tmp_path / "userlist.txt"): b"new"})
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"userlist.txt": b"old"}


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = {"userlist.txt", ".s.PGSQL.6432", ".hidden", "tls.crt"}
    (tmp_path / "tls").mkdir()
    for name in (
        "userlist.txt",
        ".userlist.txt.0a1b2c3d",
        ".s.PGSQL.6432",
        ".hidden",
        "tls/tls.crt",
        "tls/.tls.crt.00000000",
    ):
        (tmp_path / name).write_bytes(b"x")
    files.clean(tmp_path)
    assert {each.name for each in tmp_path.rglob("*") if each.is_file()} == kept
