import json
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from pgbouncer_operator import log
from pgbouncer_operator.agent.supervisor import write_log


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A local time that is not UTC."""
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, which has its own handlers and level back afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.mark.usefixtures("tokyo")
@pytest.mark.parametrize("style", ["json", "text"])
def test_the_time_of_a_line_is_a_moment_in_utc(
    style: str, root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    before = datetime.now(UTC)
    log.configure("info", style)
    root.info("a pool is ready", extra={"pool": "shop"})

    line = capsys.readouterr().err
    text = json.loads(line)["time"] if style == "json" else line.split()[0]

    assert text.endswith("Z")
    assert before - timedelta(milliseconds=1) <= datetime.fromisoformat(text) <= datetime.now(UTC)


@pytest.mark.usefixtures("tokyo")
def test_the_agents_lines_begin_with_a_moment_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    write_log("drained in 4.5 s")

    text, _, rest = capsys.readouterr().err.partition(" ")

    assert text.endswith("Z")
    assert before <= datetime.fromisoformat(text) <= datetime.now(UTC)
    assert rest == "drained in 4.5 s\n"


def test_the_time_of_an_agents_line_is_not_behind_the_clock_at_the_turn_of_a_second(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """time(2) is late by up to a tick of the kernel: https://man7.org/linux/man-pages/man2/time.2.html."""
    late = time.gmtime
    monkeypatch.setattr(time, "gmtime", lambda seconds=None: late(0 if seconds is None else seconds))
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.001)

    write_log("drained in 4.5 s")

    assert capsys.readouterr().err == "2023-11-14T22:13:20Z drained in 4.5 s\n"
