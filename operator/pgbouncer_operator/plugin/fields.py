"""Reads fields of an object as kubectl prints it. What the object does not have is None, which means unknown. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Control characters, and those that turn the direction of text.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


def condition(body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The object's condition of this type; empty if it has none."""
    return next((each for each in conditions(body) if each.get("type") == kind), {})


def conditions(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The object's conditions, in their order."""
    return iter((body.get("status") or {}).get("conditions") or ())


def at(body: Mapping[str, Any], *path: str) -> Any:
    """The value at a path of fields; None if the object does not have it."""
    value: Any = body
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def plain(text: str) -> str:
    """The text in one line, without characters that steer a terminal."""
    return _UNPRINTABLE.sub(" ", text)
