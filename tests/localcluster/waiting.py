"""Waiting for a condition with a deadline."""

import time
from collections.abc import Callable

from tests.localcluster.problem import Problem


def until(condition: Callable[[], str], seconds: float, pause: float = 0.1) -> None:
    """Ask `condition` again and again until it gives "". Otherwise it says what is missing, and Problem repeats it."""
    deadline = time.monotonic() + seconds
    while missing := condition():
        if time.monotonic() > deadline:
            raise Problem(f"not within {seconds:.0f} s: {missing}")
        time.sleep(pause)


def let_pass(seconds: float) -> None:
    """Let that much time pass, where the time itself is the point: a window to watch, a moment to strike."""
    over = time.monotonic() + seconds
    until(lambda: "" if time.monotonic() >= over else "the time", seconds + 10, pause=0.01)
