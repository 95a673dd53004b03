"""Volumes that cannot be read: unknown, not empty."""

import errno
import os
from pathlib import Path

import pytest
from tests.unit.agent.test_mounts import mounted

from pgbouncer_operator.agent import mounts
from pgbouncer_operator.agent.settings import AgentSettings


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    return mounted(tmp_path)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("volume_of", ["config_dir", "grants_dir", "pod_dir"])
def test_a_volume_that_cannot_be_read_is_unknown_and_not_empty(
    settings: AgentSettings, monkeypatch: pytest.MonkeyPatch, volume_of: str, code: int
) -> None:
    """An empty one asks for no pause, so traffic would flow while a person moves the database."""
    reads, directory = Path.read_bytes, getattr(settings, volume_of)

    def read_bytes(path: Path) -> bytes:
        if directory in path.parents:
            raise OSError(code, "not now")
        return reads(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(mounts.Unreadable, match="not now"):
        mounts.read(settings, {})


def test_a_generation_that_cannot_be_asked_for_is_unknown(
    settings: AgentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: str) -> str:
        raise OSError(errno.EIO, "not now")

    monkeypatch.setattr(os, "readlink", failing)
    with pytest.raises(mounts.Unreadable, match="not now"):
        mounts.fingerprint(mounts.volumes(settings))


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_a_secret_that_cannot_be_read_keeps_its_login_and_holds_up_no_grant(
    settings: AgentSettings, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    reads, last = Path.read_bytes, {"shop": mounts.Credential("shop", "before")}

    def read_bytes(path: Path) -> bytes:
        if settings.users_dir in path.parents:
            raise OSError(code, "not now")
        return reads(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    found = mounts.read(settings, last)
    assert found.grants is not None
    assert found.unknown == ("shop",)
    assert found.users["shop"].credential == last["shop"]
    assert found.users["shop"].message.startswith("The Secret of user shop cannot be read: check the pod's node.")
    monkeypatch.undo()
    assert mounts.read(settings, last).unknown == ()


def test_users_that_cannot_be_listed_are_read_all_the_same(
    settings: AgentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = os.listdir

    def failing(path: str) -> list[str]:
        if path == str(settings.users_dir):
            raise OSError(errno.EIO, "not now")
        return lists(path)

    monkeypatch.setattr(os, "listdir", failing)
    assert mounts.fingerprint(mounts.volumes(settings))
    assert mounts.read(settings, {}).users["shop"].credential is not None
