"""When a pod that drains becomes unready, so that nobody comes shortly before its deadline.

The PgBouncer in memory is that of test_drain_order.py. Here it also has kube-proxy before it.
"""

import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.unit.agent.test_drain_order import DELAY, IMMORTAL, SHUTDOWN, Client, FakePgBouncer, drained

from pgbouncer_operator.agent import drain, probe, wire

TIMEOUT = 120
END = DELAY + TIMEOUT
SLOWEST = drain.PROBE_SECONDS + DELAY  # until kube-proxy no longer sends anybody to a pod that is unready
UNREADY = END - SLOWEST - drain.LEAVE_SECONDS


@dataclass
class Routed(FakePgBouncer):
    """A PgBouncer that gets a client each second while kube-proxy sends new clients to it.

    While no other pod is ready, kube-proxy sends them to pods that terminate, but for unready ones. Each stays for as
    long as a drain leaves it. lonely_from: since when no other pod is ready. lonely_until: until when.
    """

    lonely_from: float = 0.0
    lonely_until: float = IMMORTAL
    unready_at: float = IMMORTAL

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if (self.run_dir / "unready").exists():
            self.unready_at = min(self.unready_at, self.now)
        reachable = self.lonely_from <= self.now < min(self.lonely_until, self.unready_at + SLOWEST)
        if reachable and self.now % 1 == 0:
            self.clients.append(Client(comes=self.now, leaves=self.now + drain.LEAVE_SECONDS))

    @property
    def failed(self) -> list[Client]:
        """Clients that came in the drain and are closed before they have left."""
        assert self.shutdown_at is not None, "a client that never leaves keeps the drain until its deadline"
        return [each for each in self.clients if each.comes and each.connected(self.shutdown_at)]


def drained_until_the_deadline(monkeypatch: pytest.MonkeyPatch, pgbouncer: Routed, timeout: float = TIMEOUT) -> None:
    assert drained(monkeypatch, pgbouncer, "--timeout", str(timeout)) == 0
    assert pgbouncer.log == [(SHUTDOWN, DELAY + timeout)], "nothing before it, and nothing later"


@pytest.mark.parametrize("lonely_from", [DELAY + 1, 60, UNREADY - 1, UNREADY, UNREADY + 1, 100, 115, END - 3, END - 1])
def test_whoever_comes_when_all_other_pods_leave_is_gone_before_the_deadline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lonely_from: float
) -> None:
    pgbouncer = Routed(tmp_path, [Client()], lonely_from=lonely_from)
    drained_until_the_deadline(monkeypatch, pgbouncer)
    assert pgbouncer.failed == []


def test_a_pod_serves_whoever_comes_until_it_has_to_be_unready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Other pods may fail. Until then the pods that leave are the only ones that serve."""
    pgbouncer = Routed(tmp_path, [Client()], lonely_from=UNREADY - 20)
    drained_until_the_deadline(monkeypatch, pgbouncer)
    assert UNREADY <= pgbouncer.unready_at <= UNREADY + 2 * drain.POLL_SECONDS
    assert len(pgbouncer.clients) > 20


def test_a_pod_stays_ready_where_new_clients_have_never_gone_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No successor is ready, and whoever left at the same time ends at the same time: somebody has to serve."""
    pgbouncer = Routed(tmp_path, [Client()])
    drained_until_the_deadline(monkeypatch, pgbouncer)
    assert pgbouncer.unready_at == IMMORTAL


def test_a_successor_that_comes_late_lets_the_pod_be_unready_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ready = UNREADY + 9
    pgbouncer = Routed(tmp_path, [Client()], lonely_until=ready)
    drained_until_the_deadline(monkeypatch, pgbouncer)
    assert ready + DELAY - 1 <= pgbouncer.unready_at <= ready + DELAY + 1


def test_a_pod_that_has_nothing_to_hand_over_stays_ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its successor waits for its end."""
    pgbouncer = Routed(tmp_path, [Client()], share=1, lonely_from=IMMORTAL)
    drained_until_the_deadline(monkeypatch, pgbouncer)
    assert pgbouncer.unready_at == IMMORTAL


def test_a_short_drain_is_unready_as_soon_as_new_clients_go_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pgbouncer = Routed(tmp_path, [Client()], lonely_from=IMMORTAL)
    drained_until_the_deadline(monkeypatch, pgbouncer, timeout=20)
    assert DELAY <= pgbouncer.unready_at <= DELAY + 1


def test_a_full_run_directory_does_not_end_the_drain_and_the_next_look_tries_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pgbouncer = Routed(tmp_path, [Client()], lonely_from=IMMORTAL)
    write = drain._write

    def full(path: str, text: str) -> None:
        if path.endswith("/unready") and pgbouncer.now < UNREADY + 9:
            raise OSError("no space left on device")
        write(path, text)

    monkeypatch.setattr(drain, "_write", full)
    drained_until_the_deadline(monkeypatch, pgbouncer)
    assert UNREADY + 9 <= pgbouncer.unready_at <= UNREADY + 10


def test_only_the_pgbouncer_that_drains_is_unready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """kubelet also drains a PgBouncer that hangs, and starts another one in the same pod."""
    path = tmp_path / ".s.PGSQL.6432"
    (tmp_path / "probe-user").write_text("probe_1")
    monkeypatch.setattr(probe, "_login", lambda *_: None)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    report = drain.Report(str(tmp_path), str(path))
    report.expect(newcomers=False)
    assert probe.main([str(tmp_path)]) == 0
    report.unready()
    assert probe.main([str(tmp_path)]) == 1
    assert "This pod leaves" in capsys.readouterr().err
    before = wire.process(str(path))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    assert wire.process(str(path)) != before
    assert probe.main([str(tmp_path)]) == 0
