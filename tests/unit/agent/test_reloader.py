"""Steps towards a configuration that fail, and when they are tried again."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.agent.test_candidate import TWO, shares
from tests.unit.agent.test_mounts import mounted, volume

from pgbouncer_operator.agent import prove, run_dir
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.reload import Reloader
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.agent.worker import Worker


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
