"""What is to go wrong, and how often."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with an error instead of doing anything."""

    code: int
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Hang:
    """Never answer."""


@dataclass(frozen=True, slots=True)
class Slow:
    """Do it, but after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class DropBefore:
    """Cut the connection and do nothing."""


@dataclass(frozen=True, slots=True)
class DropAfter:
    """Do it, then cut the connection instead of answering."""


Action = Answer | Hang | Slow | DropBefore | DropAfter


@dataclass(slots=True)
class Fault:
    """An action for the next `times` requests that match; None: until removed. Empty fields match everything."""

    action: Action
    verb: str = ""
    plural: str = ""
    name: str = ""
    times: int | None = 1

    def matches(self, verb: str, plural: str, name: str) -> bool:
        wanted = ((self.verb, verb), (self.plural, plural), (self.name, name))
        return self.times != 0 and all(want in ("", value) for want, value in wanted)


class Faults:
    """The plan. The first fault that matches is used."""

    def __init__(self) -> None:
        self.plan: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        self.plan.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        self.plan.remove(fault)

    def next(self, verb: str, plural: str, name: str) -> Action | None:
        for fault in self.plan:
            if fault.matches(verb, plural, name):
                if fault.times is not None:
                    fault.times -= 1
                return fault.action
        return None
