"""The steps of a drain in their order, against a PgBouncer in memory: what each finds, and what becomes of clients.

A process test (tests/process/test_agent_drain.py) shows the same on a real PgBouncer, much later.
"""

import json
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pgbouncer_operator.agent import console, drain
from pgbouncer_operator.agent.draining import Draining
from pgbouncer_operator.agent.settings import AgentSettings

DELAY, TIMEOUT, TRANSACTION = 5, 30, 20
ARGUMENTS = ["--endpoint-delay", str(DELAY), "--timeout", str(TIMEOUT), "--transaction", str(TRANSACTION)]
SHUTDOWN = "SHUTDOWN WAIT_FOR_SERVERS"
IMMORTAL = float("inf")


@dataclass
class Client:
    """A client: when it connects, when it leaves by itself, when its transaction ends. Seconds of the fake clock."""

    leaves: float = IMMORTAL
    comes: float = 0.0
    transaction_ends: float = 0.0
    paused: bool = False

    def connected(self, now: float) -> bool:
        return self.comes <= now and (self.paused or now < self.leaves)


@dataclass
class FakePgBouncer:
    """A PgBouncer whose clock moves only when the drain sleeps. log: each step that it saw, in order.

    terminated_at: when it gets a SIGTERM, and closes its port. A client of a paused database never leaves: its query
    waits. After SHUTDOWN WAIT_FOR_SERVERS a client is closed when its transaction ends, and the process exits with the
    last of them.
    """

    run_dir: Path
    clients: list[Client]
    share: int = 8
    paused: bool = False
    refuses_shutdown: bool = False
    terminated_at: float = IMMORTAL
    now: float = 0.0
    shutdown_at: float | None = None
    log: list[tuple[str, float]] = field(default_factory=list)
    flags: list[tuple[str, bool | None]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def console(self, _path: str, _seconds: float) -> "FakePgBouncer":
        self.unix("", 0)
        return self

    def unix(self, _path: str, _seconds: float) -> "FakePgBouncer":
        if self.exited:
            raise ConnectionRefusedError("nobody listens")
        return self

    def listens(self, _port: int) -> bool:
        return not self.exited and self.now < self.terminated_at

    def __enter__(self) -> "FakePgBouncer":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass

    @property
    def exited(self) -> bool:
        return self.shutdown_at is not None and all(each.transaction_ends <= self.now for each in self.clients)

    def query(self, text: str) -> list[dict[str, str]]:
        step = text if text.startswith(("RESUME", "SHUTDOWN")) else ""
        if step:
            self.log.append((step, self.now))
        self.flags.append((step or "look", self.newcomers()))
        connected = [each for each in self.clients if each.connected(self.now)]
        busy = sum(each.transaction_ends > self.now for each in connected)
        zero = dict.fromkeys(("cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req"), "0")
        match text.split():
            case ["SHOW", "DATABASES"]:
                return [{"name": "shop", "pool_size": str(self.share), "paused": str(int(self.paused))}]
            case ["SHOW", "POOLS"]:
                return [{"database": "shop", "cl_active": str(len(connected)), "sv_active": str(busy)} | zero]
            case ["SHOW", "LISTS"]:
                return [{"list": "login_clients", "items": "0"}]
            case ["SHOW", "STATS"]:
                logins = sum(each.comes <= self.now for each in self.clients)
                return [{"database": "shop", "total_client_login_count": str(logins)}]
            case ["RESUME", '"shop"']:
                self.paused = False
                for client in self.clients:
                    client.paused = False
            case ["SHUTDOWN", "WAIT_FOR_SERVERS"]:
                if self.refuses_shutdown:
                    raise drain.wire.WireError("ERROR: no")
                self.results.append(self.result())
                self.shutdown_at = self.now
            case _:
                raise AssertionError(f"the drain gives no such command: {text}")
        return []

    def newcomers(self) -> bool | None:
        """What drain.py has told the agent: whether new clients may come; None before it has told anything."""
        try:
            return bool(json.loads((self.run_dir / "draining").read_text())["newcomers"])
        except FileNotFoundError:
            return None

    def result(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.run_dir / "drained").read_text())
        except FileNotFoundError:
            return {}
        return found


def drained(monkeypatch: pytest.MonkeyPatch, pgbouncer: FakePgBouncer, *arguments: str) -> int:
    """Run drain.py against it, with further arguments; its exit code."""
    monkeypatch.setattr(drain.wire, "console", pgbouncer.console)
    monkeypatch.setattr(drain.wire, "unix", pgbouncer.unix)
    monkeypatch.setattr(drain, "time", pgbouncer)
    monkeypatch.setattr(drain, "listens", pgbouncer.listens)
    return drain.main([*ARGUMENTS, *arguments, "--run-dir", str(pgbouncer.run_dir)])


def test_the_agent_is_told_of_the_drain_before_any_command_and_paused_databases_flow_before_the_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pgbouncer = FakePgBouncer(tmp_path, [Client(leaves=8.0, paused=True)], paused=True)
    assert drained(monkeypatch, pgbouncer) == 0
    assert pgbouncer.log == [('RESUME "shop"', 0.0)], "without RESUME the client would stay until it is closed"
    steps = [step for step, _ in pgbouncer.flags]
    told = [newcomers for _, newcomers in pgbouncer.flags]
    # Who is there, and what can be handed over, is read before the agent is told: four SHOW commands.
    assert told[:4] == [None] * 4
    assert told[4:].count(None) == 0
    assert steps.index('RESUME "shop"') == 5, "SHOW DATABASES, then RESUME, then the wait"


def test_a_drain_returns_without_a_shutdown_once_nobody_is_left_and_nobody_came_for_the_endpoint_delay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    late = Client(comes=3.0, leaves=4.0)
    pgbouncer = FakePgBouncer(tmp_path, [Client(leaves=1.0), late])
    assert drained(monkeypatch, pgbouncer) == 0
    assert pgbouncer.log == [], "kubelet's SIGTERM is the first shutdown signal: a second one cuts transactions"
    assert late.comes + DELAY <= pgbouncer.now < late.comes + DELAY + 1
    assert pgbouncer.result() == {"left": 2, "closed": 0, "cut": 0, "done": True, "seconds": pgbouncer.now}


def test_the_agent_gives_nothing_back_while_new_clients_may_come(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pgbouncer = FakePgBouncer(tmp_path, [Client(comes=1.5, leaves=20.0)])
    assert drained(monkeypatch, pgbouncer) == 0
    expected = [newcomers for _, newcomers in pgbouncer.flags[4:]]
    assert expected == sorted(expected, reverse=True), "from expected to not expected, once"
    assert {True, False} == set(expected)


def test_the_agent_is_told_which_pgbouncer_drains_and_that_stays_when_it_has_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = AgentSettings(run_dir=tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(settings.console))
    process = console.process(settings)
    pgbouncer = FakePgBouncer(tmp_path, [Client(leaves=8.0)])
    sleep = pgbouncer.sleep

    def going(seconds: float) -> None:
        sleep(seconds)
        settings.console.unlink(missing_ok=True)

    monkeypatch.setattr(pgbouncer, "sleep", going)
    assert drained(monkeypatch, pgbouncer) == 0
    assert json.loads((tmp_path / "draining").read_text()) == {"newcomers": False, "process": list(process)}
    assert Draining(settings).update()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(settings.console))
    assert not Draining(settings).update(), "another PgBouncer serves"


def test_shutdown_comes_at_the_timeout_and_not_before_and_the_drain_waits_for_the_last_transaction(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pgbouncer = FakePgBouncer(tmp_path, [Client(leaves=2.0), Client(), Client(transaction_ends=DELAY + TIMEOUT + 7.0)])
    assert drained(monkeypatch, pgbouncer) == 0
    assert pgbouncer.log == [(SHUTDOWN, DELAY + TIMEOUT)], "one signal only"
    assert pgbouncer.exited
    assert pgbouncer.now >= DELAY + TIMEOUT + 7.0, "a return before would let SIGTERM cut the transaction"
    result = pgbouncer.result()
    assert (result["left"], result["closed"], result["cut"], result["done"]) == (1, 2, 0, True)


def test_when_kubelet_ends_the_grace_period_early_the_shutdown_comes_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """kubelet's SIGTERM comes 2 s before its SIGKILL: running transactions have that long."""
    pgbouncer = FakePgBouncer(tmp_path, [Client(), Client(transaction_ends=13.0)], terminated_at=12.0)
    assert drained(monkeypatch, pgbouncer) == 0
    ((step, at),) = pgbouncer.log
    assert step == SHUTDOWN
    assert 12.0 <= at <= 12.0 + drain.POLL_SECONDS
    result = pgbouncer.result()
    assert (result["closed"], result["cut"], result["done"]) == (2, 0, True)


def test_a_pgbouncer_that_ends_early_without_clients_gets_no_second_signal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pgbouncer = FakePgBouncer(tmp_path, [Client(leaves=1.0)], terminated_at=2.0)
    assert drained(monkeypatch, pgbouncer) == 0
    assert pgbouncer.log == []


def test_what_became_of_clients_is_kept_before_the_wait_that_may_end_this_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pgbouncer = FakePgBouncer(tmp_path, [Client(transaction_ends=DELAY + TIMEOUT + 1.0)])
    slept: list[dict[str, Any]] = []
    sleep = pgbouncer.sleep

    def looking(seconds: float) -> None:
        if pgbouncer.shutdown_at is not None:
            slept.append(pgbouncer.result())
        sleep(seconds)

    monkeypatch.setattr(pgbouncer, "sleep", looking)
    assert drained(monkeypatch, pgbouncer) == 0
    assert pgbouncer.results == [{}], "nothing is claimed before PgBouncer has taken the command"
    assert slept
    assert {(each["closed"], each["done"]) for each in slept} == {(1, False)}


def test_a_transaction_that_outlasts_its_time_is_counted_as_cut(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pgbouncer = FakePgBouncer(tmp_path, [Client(transaction_ends=IMMORTAL), Client()])
    assert drained(monkeypatch, pgbouncer) == 1
    assert pgbouncer.now >= DELAY + TIMEOUT + TRANSACTION
    result = pgbouncer.result()
    assert (result["closed"], result["cut"], result["done"]) == (1, 1, True)


def test_a_refused_shutdown_ends_the_drain_at_once_and_counts_all_clients_as_cut(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pgbouncer = FakePgBouncer(tmp_path, [Client(), Client()], refuses_shutdown=True)
    assert drained(monkeypatch, pgbouncer) == 1
    assert pgbouncer.now == DELAY + TIMEOUT
    assert pgbouncer.result()["cut"] == 2
    assert SHUTDOWN in capsys.readouterr().err
