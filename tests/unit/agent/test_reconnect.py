"""When server connections are renewed, by a clock of the test's own. PgBouncer's console is written down."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from pgbouncer_operator.agent import console, files
from pgbouncer_operator.agent.console import Unreachable
from pgbouncer_operator.agent.reconnect import AGAIN, POSTPONED, Reconnector
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
    made, write = Bouncer(), files.write

    def written(contents: Mapping[str, bytes]) -> None:
        write(contents)
        for path in contents:
            os.utime(path, (made.now, made.now))

    monkeypatch.setattr(files, "write", written)
    monkeypatch.setattr(time, "time", lambda: made.now)
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


@pytest.mark.parametrize(
    ("ended", "away", "expected"),
    [
        (0.5, 0.0, [1.0, 3.0, 7.0, 15.0, 30.0, 60.0, 120.0]),
        (20.0, 0.0, [30.0, 60.0, 120.0]),
        (20.0, 25.0, [45.0, 75.0, 135.0]),
        (119.5, 0.0, [120.0]),
        (119.5, 500.0, [619.5]),
        (120.5, 0.0, []),
    ],
)
def test_a_worker_that_is_restarted_goes_on_where_the_last_one_stopped(
    ended: float, away: float, expected: list[float], tmp_path: Path, bouncer: Bouncer
) -> None:
    """Times in seconds since the token was new. away: between the two workers."""
    begun, own = bouncer.now, reconnector(tmp_path, bouncer)
    own.step("a", ("shop",))
    renewed = passes(bouncer, own, ended, "b")
    bouncer.now += away
    between = bouncer.now - begun
    renewed += [between + each for each in passes(bouncer, reconnector(tmp_path, bouncer), 300, "b")]
    assert renewed == [0.0, *(each for each in [1.0, 3.0, 7.0, 15.0, 30.0, 60.0, 120.0] if each < ended), *expected]


def test_a_worker_that_is_restarted_after_the_first_token_renews_nothing(tmp_path: Path, bouncer: Bouncer) -> None:
    reconnector(tmp_path, bouncer).step("a", ("shop",))
    later = reconnector(tmp_path, bouncer)
    assert later.token == "a"
    assert passes(bouncer, later, 300, "a") == []


def test_a_full_run_directory_renews_no_more_often(
    tmp_path: Path, bouncer: Bouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    own = reconnector(tmp_path, bouncer)
    own.step("a", ("shop",))
    monkeypatch.setattr(files, "write", full)
    assert passes(bouncer, own, 600, "b") == [0.0, 1.0, 3.0, 7.0, 15.0, 30.0, 60.0, 120.0]
