"""Telling what happens and how long it took."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

STILL_SECONDS = 30.0


class Progress:
    """Prints one line when a step starts and one when it ended, with its seconds and those since the start."""

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out or sys.stderr
        self._clock = clock
        self._start = clock()

    def say(self, text: str) -> None:
        """One line with the seconds since the start."""
        print(f"[{self._clock() - self._start:6.1f} s] {text}", file=self._out, flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """A step that is announced, reported every half minute, and closed with its duration or its failure."""
        began = self._clock()
        ended = threading.Event()
        self.say(f"{text} …")

        def remind() -> None:
            while not ended.wait(STILL_SECONDS):
                self.say(f"{text}: still at it after {self._clock() - began:.0f} s")

        reminder = threading.Thread(target=remind, daemon=True)
        reminder.start()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        finally:
            ended.set()
            reminder.join()
            self.say(f"{text}: {outcome} in {self._clock() - began:.1f} s")
