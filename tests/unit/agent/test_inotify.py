"""Waking up when something is mounted."""

import os
from pathlib import Path

import pytest

from pgbouncer_operator.agent.inotify import Inotify

LONG = 60.0


@pytest.fixture
def notice() -> Inotify:
    return Inotify(fallback=0.01)


def test_a_moved_link_wakes_the_waiter_once(tmp_path: Path, notice: Inotify) -> None:
    notice.watch([str(tmp_path)])
    (tmp_path / "..data_tmp").symlink_to("..1")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert notice.wait(LONG) is True
    assert notice.wait(0) is False


def test_a_signal_wakes_the_waiter(tmp_path: Path, notice: Inotify) -> None:
    notice.watch([str(tmp_path)])
    os.write(notice.waker, b"x")
    assert notice.wait(LONG) is True


def test_a_volume_that_is_not_mounted_keeps_nobody_awake(tmp_path: Path, notice: Inotify) -> None:
    notice.watch([str(tmp_path), str(tmp_path / "ca")])
    (tmp_path / "file").touch()
    assert notice.wait(LONG) is True


def test_where_watching_fails_the_waiter_sleeps_short(tmp_path: Path, notice: Inotify) -> None:
    notice.watch([str(tmp_path / ("x" * 300))])
    assert notice.wait(LONG * 60) is False
