from pathlib import Path

import pytest
from tests.unit.plugin import world as worlds


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> worlds.World:
    """An empty cluster, which the kubectl on PATH answers for."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return worlds.made(tmp_path, capsys)
