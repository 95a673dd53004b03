"""Steps towards a configuration that fail, and when they are tried again."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.agent.test_candidate import TWO, shares
from tests.unit.agent.test_mounts import mounted, volume

from pgbouncer_operator.agent import files, prove, run_dir
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.reload import Reloader
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.agent.worker import Worker
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.protocol.reasons import ProblemReason


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    return AgentSettings(run_dir=tmp_path)


def test_a_refused_step_is_a_refusal_of_the_configuration_that_it_leads_to(
    settings: AgentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    proofs: list[str] = []

    def refuse(step: Candidate, _: AgentSettings) -> None:
        proofs.append(step.marker)
        raise prove.ConfigurationRefused("not this one")

    monkeypatch.setattr(prove, "prove", refuse)
    reloader = Reloader(settings)
    reloader.running = TWO
    wanted = shares(TWO, shop=2, blog=8)  # one share falls before the other one rises
    for _ in range(3):
        reloader.advance(wanted, 0.0)
    assert reloader.refuses(wanted)
    assert len(proofs) == 1
    assert proofs[0] != wanted.marker
    reloader.advance(shares(TWO, shop=1, blog=1), 0.0)
    assert reloader.refuses(wanted), "the refusal of another configuration is no reason to try this one sooner"
    assert len(proofs) == 2


def test_a_change_of_the_open_files_alone_counts_from_the_moment_that_it_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, files, seen = mounted(tmp_path), [1000], list[float]()
    monkeypatch.setattr(run_dir, "open_files", lambda _: files[0])
    monkeypatch.setattr(Reloader, "advance", lambda _, __, begun: seen.append(begun))
    volume(settings.pod_dir, "..2", uid=b"uid-1", annotations=b"")
    worker = Worker(replace(settings, static_after=0.0))
    worker.step()
    worker.step()
    files[0] = 500
    worker.step()
    worker.step()
    first, second, third, fourth = seen
    assert first == second < third == fourth


def test_a_grant_that_the_run_directory_does_not_take_is_not_used_and_the_worker_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    settings = mounted(tmp_path)
    monkeypatch.setattr(Reloader, "advance", lambda *_: None)
    worker = Worker(settings)
    worker.step()
    assert worker.state().cap == 5
    with monkeypatch.context() as patch:
        patch.setattr(files, "write", full)
        volume(settings.grants_dir, "..2", grants__json=Grants(4, 8, {"uid-1": Grant(9, 4, 9)}).to_json().encode())
        volume(settings.users_dir / "shop", "..8", username=b"shop", password=b"another")
        worker.step()
        assert worker.state().cap == 5
        (message,) = about_grant(worker)
        assert message.endswith("does not take the new grant: no space left on device; replace the pod")
    worker.step()
    assert (worker.state().cap, about_grant(worker)) == (9, [])


def about_grant(worker: Worker) -> list[str]:
    """The worker's problems with its grant."""
    return [each.message for each in worker.state().problems if each.reason is ProblemReason.NO_GRANT]
