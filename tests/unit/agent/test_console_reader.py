"""What the agent says of a PgBouncer that answers, that hangs and that has gone, and in which order it reads."""

import contextlib
import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pgbouncer_operator.agent import console, metrics, server
from pgbouncer_operator.agent.console import ConsoleAnswer, Figures, Shown, Unreachable
from pgbouncer_operator.agent.console_reader import ConsoleReader, Reading, Verified
from pgbouncer_operator.agent.reload import Confirmed
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.agent.worker import Worker
from pgbouncer_operator.protocol.reasons import ProblemReason
from pgbouncer_operator.protocol.state import OLDEST

LONG = 60.0  # no test waits so long


class PgBouncer:
    """In place of `console.observe`: holds answers back while it hangs."""

    def __init__(self) -> None:
        self.open = 7
        self.gone = False
        self.asked = 0
        self.meanwhile: list[Any] = []  # called while it answers
        self._flowing = threading.Event()
        self._flowing.set()
        self.reached = threading.Event()

    def __call__(self, settings: AgentSettings, whole: bool = False, totals: bool = False) -> ConsoleAnswer:
        self.asked += 1
        self.reached.set()
        for each in self.meanwhile:
            each()
        assert self._flowing.wait(LONG)
        if self.gone:
            raise Unreachable("PgBouncer does not run", gone=True)
        return ConsoleAnswer({}, Figures(open=self.open), shown=Shown([], [], []))

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        self.reached.clear()
        self._flowing.clear()
        try:
            yield
        finally:
            self._flowing.set()


@pytest.fixture
def pgbouncer(monkeypatch: pytest.MonkeyPatch) -> PgBouncer:
    found = PgBouncer()
    monkeypatch.setattr(console, "observe", found)
    return found


def reader() -> ConsoleReader:
    return ConsoleReader(AgentSettings(), lambda: Verified(Confirmed("1", 3, 5)), lambda: False)


def test_a_reading_is_of_now(pgbouncer: PgBouncer) -> None:
    subject = reader()
    assert subject.read(LONG).figures.open == 7
    pgbouncer.open = 8
    found = subject.read(LONG)
    assert (found.figures.open, found.verified.confirmed.seq, found.age(found.began + 0.9)) == (8, 3, 0)


def test_while_pgbouncer_hangs_everybody_gets_the_last_reading_with_its_age_and_one_question_is_under_way(
    pgbouncer: PgBouncer,
) -> None:
    subject = reader()
    before = subject.read(LONG)
    with pgbouncer.hanging():
        assert subject.read(patience=0.001) is before
        assert pgbouncer.reached.wait(LONG)
        askers = [threading.Thread(target=subject.read, args=(0.001,)) for _ in range(50)]
        for each in askers:
            each.start()
        for each in askers:
            each.join(LONG)
        assert not any(each.is_alive() for each in askers)
        assert pgbouncer.asked == 2  # the first one, and the one that hangs
        assert before.age(before.began + 4.5) == 4
    pgbouncer.open = 9
    assert subject.read(LONG).figures.open == 9


def test_before_the_first_answer_nothing_is_known_and_that_is_as_old_as_can_be(pgbouncer: PgBouncer) -> None:
    with pgbouncer.hanging():
        found = reader().read(patience=0.001)
        assert (found.age(1.0), found.verified, found.answer) == (OLDEST, Verified(), None)


def test_a_pgbouncer_that_is_gone_holds_nothing_and_one_that_hangs_holds_what_it_held(
    pgbouncer: PgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = reader()
    before = subject.read(LONG)

    def silence(*_: object, **__: object) -> ConsoleAnswer:
        raise Unreachable("PgBouncer does not answer", gone=False)

    monkeypatch.setattr(console, "observe", silence)
    hung = subject.read(LONG)
    assert hung == replace(before, answer=None, problem=hung.problem)
    assert hung.problem is not None
    assert hung.problem.reason is ProblemReason.CONSOLE_UNREACHABLE
    pgbouncer.gone = True
    monkeypatch.setattr(console, "observe", pgbouncer)
    assert (subject.read(LONG).figures, subject.read(LONG).answer) == (Figures(), None)


def test_a_fault_in_a_reading_ends_that_reading_only(pgbouncer: PgBouncer, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[object] = []
    monkeypatch.setattr(threading, "excepthook", faults.append)
    subject = reader()
    pgbouncer.meanwhile = [lambda: {}["sv_active"]]
    assert subject.read(patience=0.05) == Reading()
    pgbouncer.meanwhile = []
    assert subject.read(LONG).figures.open == 7
    assert faults


def test_what_a_state_confirms_was_verified_before_its_connections_were_counted(
    tmp_path: Path, pgbouncer: PgBouncer
) -> None:
    """A shrink is believed only by connections that were counted after it was verified."""
    worker = Worker(AgentSettings(run_dir=tmp_path))
    worker._grant = replace(worker._grant, seq=8, cap=10)
    worker.reloader.confirmed = Confirmed("1", 8, 10)
    pgbouncer.open = 10  # counted; then the worker shrinks, before the answer is read

    def shrink() -> None:
        worker._grant = replace(worker._grant, seq=9, cap=5)
        worker.reloader.confirmed = Confirmed("2", 9, 5)

    pgbouncer.meanwhile = [shrink]
    state = worker.state()
    assert (state.digest, state.seq, state.cap, state.open) == ("1", 8, 10, 10)
    pgbouncer.meanwhile, pgbouncer.open = [], 4
    state = worker.state()
    assert (state.digest, state.seq, state.cap, state.open, state.age) == ("2", 9, 5, 4, 0)


def test_while_pgbouncer_hangs_an_old_reading_confirms_nothing_newer(tmp_path: Path, pgbouncer: PgBouncer) -> None:
    worker = Worker(AgentSettings(run_dir=tmp_path))
    worker._grant = replace(worker._grant, seq=8, cap=10)
    worker.reloader.confirmed = Confirmed("1", 8, 10)
    worker.state()
    with pgbouncer.hanging():
        worker._grant = replace(worker._grant, seq=9, cap=5)
        worker.reloader.confirmed = Confirmed("2", 9, 5)
        state = worker.state()
        assert (state.digest, state.seq, state.cap, state.open) == ("1", 8, 10, 7)


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[tuple[AgentSettings, list[socket.socket]]]:
    """A console that accepts connections and never answers, and those connections."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings = AgentSettings(run_dir=tmp_path, http_port=free.getsockname()[1])
    connections: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(settings.console))
        listener.listen(64)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connections.append(listener.accept()[0])

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield settings, connections
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(LONG)  # it may just have accepted one
    for each in connections:
        each.close()


def test_the_agent_answers_within_the_operators_second_while_pgbouncer_hangs(
    hung: tuple[AgentSettings, list[socket.socket]],
) -> None:
    settings, connections = hung
    http = server.serve(Worker(settings))

    def answer(path: str, timeout: float) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.http_port}{path}", timeout=timeout) as found:
            return str(found.read().decode())

    try:
        for _ in range(2):
            assert json.loads(answer("/state", 1.0))["age"] == OLDEST  # 1 s is what the operator waits
        assert len(connections) <= 2  # one at a time, each for 2 s
        assert "pgbouncer_up 0.0" in answer("/metrics", LONG).splitlines()
        assert json.loads(answer("/state", 1.0))["age"] == OLDEST
    finally:
        http.server_close()


def test_a_scrape_waits_for_a_slow_pgbouncer_longer_than_the_operators_question_does(
    tmp_path: Path, pgbouncer: PgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a node short of CPU an answer takes long; that is no PgBouncer that is down."""
    monkeypatch.setattr(console, "ANSWER_SECONDS", LONG)
    worker = Worker(AgentSettings(run_dir=tmp_path))
    with ThreadPoolExecutor(1) as threads:
        with pgbouncer.hanging():
            scrape = threads.submit(worker.shown)
            assert pgbouncer.reached.wait(LONG)
            assert worker.state().age == OLDEST
            assert not scrape.done()
        shown = scrape.result(LONG)
    assert "pgbouncer_up 1.0" in metrics.render(shown, worker.state(), None, {}).splitlines()
