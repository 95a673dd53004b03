"""The agent's part in a drain, step by step against a console in memory."""

import json
from pathlib import Path

import pytest
from tests.unit.agent.test_mounts import mounted, volume

from pgbouncer_operator.agent import console, draining
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.console import ConsoleAnswer, DatabaseRow, Figures, Unreachable
from pgbouncer_operator.agent.draining import Draining, DrainResult
from pgbouncer_operator.agent.grant import AcceptedGrant
from pgbouncer_operator.agent.reload import Reloader
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.agent.worker import Worker
from pgbouncer_operator.pgbouncer.composition import Composition
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent
from pgbouncer_operator.protocol.reasons import Phase

OLD, NEW = (1, 1), (2, 2)  # processes
RUNNING = Candidate(
    Composition(Intent("web/shop", {}, (DatabaseIntent("shop", "pg"),), ()), {"shop": 8}, 1, (), "", "probe"), 1, 8
)


class FakeConsole:
    """What the agent sees of PgBouncer, and the commands that it sends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.process, self.paused, self.clients = OLD, True, 3
        self.commands: list[str] = []
        monkeypatch.setattr(draining.console, "process", lambda _: self.process)
        monkeypatch.setattr(draining.console, "observe", lambda _: self.observation())
        monkeypatch.setattr(draining.console, "command", self.run)

    def observation(self) -> ConsoleAnswer:
        return ConsoleAnswer({"shop": DatabaseRow(8, 3, self.paused, clients=self.clients)}, Figures())

    def run(self, _: AgentSettings, *texts: str) -> None:
        self.commands += texts
        self.paused = False


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    return AgentSettings(run_dir=tmp_path)


@pytest.fixture
def pgbouncer(monkeypatch: pytest.MonkeyPatch) -> FakeConsole:
    return FakeConsole(monkeypatch)


def tell(settings: AgentSettings, newcomers: bool, process: tuple[int, int] = OLD) -> None:
    """As drain.py does."""
    (settings.run_dir / draining.FLAG).write_text(json.dumps({"newcomers": newcomers, "process": process}))


def test_paused_databases_are_resumed_once_when_the_drain_begins(
    settings: AgentSettings, pgbouncer: FakeConsole
) -> None:
    drain = Draining(settings)
    assert not drain.update()
    tell(settings, newcomers=True)
    assert drain.asked
    assert drain.update()
    assert drain.update()
    assert pgbouncer.commands == ['RESUME "shop"']


def begun(settings: AgentSettings, newcomers: bool = True) -> Draining:
    """The agent's part of a drain that has begun, by a worker that has just started."""
    tell(settings, newcomers)
    drain = Draining(settings)
    drain.update()
    return drain


def test_half_is_handed_over_at_once_and_shares_follow_the_clients_down_when_no_new_client_may_come(
    settings: AgentSettings, pgbouncer: FakeConsole
) -> None:
    drain = begun(settings)
    half = drain.next_candidate(RUNNING, pgbouncer.observation())
    assert (half.cap, half.shares) == (4, {"shop": 4})
    assert drain.next_candidate(half, pgbouncer.observation()) is half, "half once, not half of the half"
    tell(settings, newcomers=False)
    shrunk = drain.next_candidate(half, pgbouncer.observation())
    assert (shrunk.cap, shrunk.shares) == (3, {"shop": 3})
    pgbouncer.clients = 7
    assert drain.next_candidate(shrunk, pgbouncer.observation()) is shrunk, "what was given back is not taken again"


def test_what_the_pod_keeps_is_confirmed_only_when_pgbouncer_keeps_to_it(
    settings: AgentSettings, pgbouncer: FakeConsole
) -> None:
    drain = begun(settings)
    drain.confirm(RUNNING, 8)
    assert drain.keeps is None, "nothing is handed over yet"
    half = drain.next_candidate(RUNNING, pgbouncer.observation())
    drain.confirm(RUNNING, 8)
    assert drain.keeps is None, "PgBouncer runs under the old limits"
    drain.confirm(half, None)
    assert drain.keeps is None, "the lower limits are not in force"
    drain.confirm(half, 7)
    assert drain.keeps == 7, "long transactions hold more than the half, and no new connection is opened"
    drain.confirm(half, 4)
    drain.confirm(half, 5)
    assert drain.keeps == 4, "what was handed over is not taken back"


def test_a_new_worker_gives_back_nothing_of_what_was_handed_over_whatever_is_mounted(
    settings: AgentSettings, pgbouncer: FakeConsole
) -> None:
    begun(settings).next_candidate(RUNNING, pgbouncer.observation())
    later = Draining(settings)
    assert later.keeps is None, "it has not seen PgBouncer yet"
    taken_up = later.bounded(RUNNING, AcceptedGrant(9, 20, 9))
    assert taken_up is not None
    assert (taken_up.cap, taken_up.shares) == (4, {"shop": 4})
    later.update()
    assert later.next_candidate(taken_up, pgbouncer.observation()) is taken_up, "half of the share at the beginning"


def test_nothing_is_handed_over_that_a_later_worker_would_not_know_of(
    settings: AgentSettings, pgbouncer: FakeConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    drain = begun(settings)
    monkeypatch.setattr(draining.run_dir, "keep_handover", full)
    assert drain.next_candidate(RUNNING, pgbouncer.observation()) is RUNNING
    drain.confirm(RUNNING, 8)
    assert drain.keeps is None


def test_a_pgbouncer_that_started_after_the_drain_began_serves_again(
    settings: AgentSettings, pgbouncer: FakeConsole
) -> None:
    drain = begun(settings, newcomers=False)
    drain.confirm(drain.next_candidate(RUNNING, pgbouncer.observation()), 3)
    pgbouncer.process = console.NO_PROCESS
    assert drain.update(), "it has only exited"
    assert drain.keeps == 3
    (settings.run_dir / draining.UNREADY).write_text("1 1\n")
    pgbouncer.process = NEW
    assert not drain.update()
    assert not (settings.run_dir / draining.UNREADY).exists()
    assert not drain.asked
    assert drain.keeps is None


def test_a_pgbouncer_that_did_not_answer_before_its_restart_is_not_taken_for_the_one_that_drains(
    settings: AgentSettings, pgbouncer: FakeConsole
) -> None:
    """No agent saw the drain begin: the PgBouncer hung, or the agent itself was away until the next one served."""
    tell(settings, newcomers=True)
    pgbouncer.process = NEW
    assert not Draining(settings).update()
    assert not Draining(settings).asked
    assert pgbouncer.commands == []
    tell(settings, newcomers=True, process=NEW)
    assert Draining(settings).update(), "this one drains, too"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"newcomers": true, "process": 1}'])
def test_a_flag_that_drain_py_did_not_write_is_a_drain_all_the_same(
    content: str, settings: AgentSettings, pgbouncer: FakeConsole
) -> None:
    (settings.run_dir / draining.FLAG).write_text(content)
    assert Draining(settings).update()


def test_the_worker_follows_a_drain_and_a_restart_of_a_pgbouncer_that_hangs(
    tmp_path: Path, pgbouncer: FakeConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*_: object, **__: object) -> ConsoleAnswer:
        raise Unreachable("it hangs", gone=False)

    settings = mounted(tmp_path)
    settings.run_dir.mkdir()
    volume(settings.pod_dir, "..2", uid=b"uid-1", annotations=b"")
    monkeypatch.setattr(Reloader, "advance", lambda *_: None)
    monkeypatch.setattr(console, "observe", hang)
    tell(settings, newcomers=True)
    worker = Worker(settings)
    worker.reloader.running = RUNNING
    worker.step()
    assert worker.state().phase is Phase.DRAINING
    pgbouncer.process = NEW
    worker._beat_at = 0.0  # the next beat is due
    worker.step()
    assert worker.state().phase is not Phase.DRAINING, "it reads its mounts again, before the new one answers"


def shares(drain: Draining, seq: int, since: int) -> dict[str, int]:
    """What may run under a mounted ledger `seq` that gives the pod 8 since ledger `since`."""
    found = drain.bounded(RUNNING, AcceptedGrant(seq, 8, since))
    assert found is not None
    return dict(found.shares)


def test_a_pod_that_serves_again_takes_back_what_it_handed_over_only_by_a_later_ledger(
    settings: AgentSettings, pgbouncer: FakeConsole
) -> None:
    """It may have been deleted meanwhile: then another pod has these connections, and no ledger comes any more."""
    drain = begun(settings)
    drain.next_candidate(RUNNING, pgbouncer.observation())
    pgbouncer.process = NEW
    assert not drain.update()
    assert shares(drain, seq=6, since=6) == {"shop": 4}, "a grant of before, whether it was read before or not"
    assert shares(Draining(settings), seq=7, since=6) == {"shop": 4}, "a ledger that changes others' grants"
    assert shares(drain, seq=8, since=8) == {"shop": 8}
    assert shares(drain, seq=8, since=8) == {"shop": 8}
    assert shares(Draining(settings), seq=8, since=8) == {"shop": 8}


def test_a_full_run_directory_stops_no_look_and_gives_nothing_back_too_early(
    settings: AgentSettings, pgbouncer: FakeConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    drain = begun(settings)
    drain.next_candidate(RUNNING, pgbouncer.observation())
    pgbouncer.process = NEW
    assert not drain.update()
    monkeypatch.setattr(draining.run_dir.files, "write", full)
    assert shares(drain, seq=6, since=6) == {"shop": 4}
    assert shares(drain, seq=7, since=6) == {"shop": 4}
    assert shares(Draining(settings), seq=8, since=8) == {"shop": 4}, "a new worker knows less, and waits longer"
    monkeypatch.setattr(Path, "unlink", full)
    assert shares(drain, seq=8, since=8) == {"shop": 8}
    assert shares(drain, seq=9, since=8) == {"shop": 8}
    assert shares(Draining(settings), seq=9, since=8) == {"shop": 4}


def test_the_result_is_logged_once_and_only_when_it_is_final(settings: AgentSettings, pgbouncer: FakeConsole) -> None:
    drain = Draining(settings)
    tell(settings, newcomers=True)
    assert drain.result is None
    document = {"left": 1, "closed": 2, "cut": 0, "seconds": 4.5, "done": False}
    (settings.run_dir / draining.RESULT).write_text(json.dumps(document))
    assert drain.result == DrainResult(1, 2, 0, 4.5, done=False)
    assert drain.log_line() == ""
    pgbouncer.process = console.NO_PROCESS  # drain.py has ended with PgBouncer's container
    assert drain.log_line().startswith("drained in 4.5 s; clients that left by themselves: 1, closed")
    assert drain.log_line() == ""
