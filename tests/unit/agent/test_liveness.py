"""What the liveness probe says of a process that waits, of one that never does, and where the kernel does not say."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgbouncer_operator.agent import liveness

WAITS = "import time\nwhile True: time.sleep(0.01)"


@contextmanager
def process(program: str) -> Iterator[str]:
    """The status file of a process that runs `program`."""
    with subprocess.Popen([sys.executable, "-c", f"print(flush=True)\n{program}"], stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            running.stdout.readline()
            yield f"/proc/{running.pid}/status"
        finally:
            running.kill()


def test_a_loop_that_waits_for_events_turns() -> None:
    with process(WAITS) as status:
        assert liveness.turns(status)


def test_a_loop_that_never_waits_does_not_turn() -> None:
    with process("while True: pass") as status:
        assert not liveness.turns(status, window=0.3, poll=0.1)


@pytest.mark.parametrize("text", ["", "voluntary_ctxt_switches:\n", "voluntary_ctxt_switches:\tmany\n", None])
def test_where_the_kernel_counts_no_waits_nothing_is_restarted(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = tmp_path / "status"
    if text is not None:
        status.write_text(text)
    assert liveness.waits(str(status)) is None
    monkeypatch.setattr(liveness, "turns", lambda _: False)
    monkeypatch.setattr(liveness, "waits", lambda _: None)
    assert liveness.main([str(tmp_path)]) == 0
    assert "is unknown" in capsys.readouterr().err
