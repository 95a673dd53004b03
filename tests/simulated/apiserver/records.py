"""What is written down of every write: for watchers, and for tests."""

from dataclasses import dataclass
from typing import Any, TypeVar

Object = dict[str, Any]
Key = tuple[str, str]  # namespace, name
T = TypeVar("T")


def clone(value: T) -> T:
    """A copy of what JSON can hold: five times as fast as copy.deepcopy."""
    if isinstance(value, dict):
        return {name: clone(inner) for name, inner in value.items()}  # type: ignore[return-value]
    return [clone(inner) for inner in value] if isinstance(value, list) else value  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Write:
    """A request to write that was accepted. `changed` is False when it left the object as it was."""

    verb: str
    plural: str
    key: Key
    manager: str
    changed: bool
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of a kind's history. `before` is what watchers with a selector need to see an object leave."""

    version: int
    type: str
    body: Object
    before: Object | None


@dataclass(frozen=True, slots=True)
class Intent:
    """Who writes, and to which subresource."""

    manager: str
    subresource: str = ""
    verb: str = "update"
