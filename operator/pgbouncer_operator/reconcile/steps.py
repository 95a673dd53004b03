"""A plan as data: which writes, in which order. Printable, comparable, testable."""

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
    """One write. posted: fields of the object still belong to our POST and must change hands before an apply."""

    action: Action
    body: Body = field(repr=False)
    subresource: str = ""
    posted: bool = False

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
    """Phases run one after the other, the steps of a phase together. requeue_after: seconds; None: on news only."""

    phases: tuple[tuple[Step, ...], ...]
    announcements: tuple[Announcement, ...]
    requeue_after: float | None
    memory: Memory
    at_rest: bool = False  # nothing to write, nothing on its way, every figure told: only news can change that

    @property
    def steps(self) -> tuple[Step, ...]:
        """All writes in order."""
        return tuple(step for phase in self.phases for step in phase)
