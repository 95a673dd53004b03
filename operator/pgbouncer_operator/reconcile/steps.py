"""A plan as data: which objects are written, and in which order. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pgbouncer_operator.reconcile.memory import ChildKey, Memory

Body = Mapping[str, Any]


class Action(StrEnum):
    """How an object is written."""

    CREATE = "create"  # POST: an object of that name is a conflict, and stays as it is
    APPLY = "apply"  # server-side apply of exactly these fields
    REPLACE = "replace"  # PUT with resourceVersion: compare and swap
    PATCH = "patch"  # merge patch of a few fields
    DELETE = "delete"  # with uid and resourceVersion


@dataclass(frozen=True, slots=True)
class Step:
    """One write."""

    action: Action
    """How the object is written."""
    body: Body = field(repr=False)
    """The object."""
    subresource: str = ""
    """The subresource that is written; empty for the object itself."""
    posted: bool = False
    """Whether fields still belong to the operator's first POST, and have to change hands before an apply."""

    @property
    def key(self) -> ChildKey:
        """Kind and name of the object."""
        return self.body["kind"], self.body["metadata"]["name"]

    def __str__(self) -> str:
        kind, name = self.key
        return f"{self.action} {kind}/{name}{'/' + self.subresource if self.subresource else ''}"


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event for `kubectl describe`."""

    warning: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What one reconcile does."""

    phases: tuple[tuple[Step, ...], ...]
    """Writes: the phases one after the other, the steps of a phase together."""
    announcements: tuple[Announcement, ...]
    """Events."""
    requeue_after: float | None
    """Seconds until the next look; None when only a change of an object needs one."""
    memory: Memory
    """What to remember until the next look."""
    at_rest: bool = False
    """Whether nothing is to be written, no change is under way and every figure is up to date."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """All writes in order."""
        return tuple(step for phase in self.phases for step in phase)
