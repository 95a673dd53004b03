"""Waits until the cluster is as it should be."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

FIRST, MOST = 0.5, 2.0  # seconds between two looks: the first time, and in the end

Seen = TypeVar("Seen")


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of the person's machine, and its passing."""

    now: Callable[[], datetime]
    """The time, in UTC."""
    sleep: Callable[[float], None]
    """Waits for so many seconds."""


def until(clock: Clock, seconds: float, look: Callable[[], Seen | None]) -> Seen | None:
    """What `look` returns once that is not None; None if it still is after so many seconds."""
    left, pause = seconds, FIRST
    while (found := look()) is None and left > 0:
        clock.sleep(min(pause, left))
        left, pause = left - pause, min(2 * pause, MOST)
    return found
