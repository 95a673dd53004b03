"""When server connections are renewed, by a clock of the test's own. PgBouncer's console is written down."""

import os
import time
from pathlib import Path

import pytest

from pgbouncer_operator.agent import console
from pgbouncer_operator.agent.console import Unreachable
from pgbouncer_operator.agent.reconnect import AGAIN, POSTPONED, TOKEN, Reconnector
from pgbouncer_operator.agent.settings import AgentSettings


class Bouncer:
    """Counts renewals. `answers` is whether no login hangs; None when it does not answer at all."""

    def __init__(self) -> None:
        self.now, self.renewals, self.answers = 1000.0, 0, True
        self.hangs = False

    def command(self, _: AgentSettings, *texts: str) -> None:
        assert texts == ('RECONNECT "shop"',)
        self.renewals += 1

    def renew(self, _: AgentSettings, databases: tuple[str, ...]) -> bool:
        assert databases == ("shop",)
        if self.hangs:
            raise Unreachable("it hangs", gone=False)
        self.renewals += self.answers
        return self.answers


@pytest.fixture
def bouncer(monkeypatch: pytest.MonkeyPatch) -> Bouncer:
    made = Bouncer()
    monkeypatch.setattr(console, "command", made.command)
    monkeypatch.setattr(console, "renew", made.renew)
    return made


def reconnector(directory: Path, bouncer: Bouncer) -> Reconnector:
    return Reconnector(AgentSettings(run_dir=directory), lambda: bouncer.now)


def passes(bouncer: Bouncer, own: Reconnector, seconds: float, token: str) -> list[float]:
    """Let time pass in steps of half a second; when connections were renewed, in seconds from the beginning."""
    begun, found = bouncer.now, []
    while bouncer.now - begun < seconds:
        if own.step(token, ("shop",)):
            found.append(bouncer.now - begun)
        bouncer.now += 0.5
    return found


def test_the_first_token_renews_nothing(tmp_path: Path, bouncer: Bouncer) -> None:
    assert passes(bouncer, reconnector(tmp_path, bouncer), 300, "a") == []


def test_a_new_token_renews_at_once_and_again_after_growing_pauses_for_two_minutes(
    tmp_path: Path, bouncer: Bouncer
) -> None:
    own = reconnector(tmp_path, bouncer)
    own.step("a", ("shop",))
    times = passes(bouncer, own, 600, "b")
    assert times == [0.0, 1.0, 3.0, 7.0, 15.0, 30.0, 60.0, 120.0]
    assert sum(AGAIN) == 120.0
    assert bouncer.renewals == len(times)


def test_another_token_begins_again(tmp_path: Path, bouncer: Bouncer) -> None:
    own = reconnector(tmp_path, bouncer)
    own.step("a", ("shop",))
    passes(bouncer, own, 20, "b")
    assert passes(bouncer, own, 5, "c") == [0.0, 1.0, 3.0]


@pytest.mark.parametrize("trouble", [{"answers": False}, {"hangs": True}], ids=str)
def test_a_repetition_waits_while_logins_hang_or_pgbouncer_does(
    trouble: dict[str, bool], tmp_path: Path, bouncer: Bouncer
) -> None:
    own = reconnector(tmp_path, bouncer)
    own.step("a", ("shop",))
    own.step("b", ("shop",))
    vars(bouncer).update(trouble)
    assert passes(bouncer, own, 30, "b") == []
    bouncer.answers, bouncer.hangs = True, False
    assert len(passes(bouncer, own, POSTPONED + sum(AGAIN), "b")) == len(AGAIN)


@pytest.mark.parametrize(("age", "expected"), [(5.0, len(AGAIN)), (500.0, 0), (-500.0, 0)])
def test_a_worker_that_is_restarted_repeats_what_is_recent(
    age: float, expected: int, tmp_path: Path, bouncer: Bouncer
) -> None:
    (tmp_path / TOKEN).write_text("b")
    written = time.time() - age
    os.utime(tmp_path / TOKEN, (written, written))
    assert len(passes(bouncer, reconnector(tmp_path, bouncer), 300, "b")) == expected
