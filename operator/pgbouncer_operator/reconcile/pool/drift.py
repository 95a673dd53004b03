"""Where a live object differs from what is desired of it. Pure.

Only desired fields are compared. Defaults of the API server and fields that others add stay.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def drift(desired: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[str, ...]:
    """Sorted paths at which `live` lacks or contradicts `desired`; empty when nothing needs a write."""
    return tuple(sorted(_object(desired, live, "")))


def _any(desired: Any, live: Any, path: str) -> Iterator[str]:
    if isinstance(desired, Mapping):
        if not isinstance(live, Mapping):
            # The API server drops some empty objects, so an absent object equals an empty one.
            if desired or live is not None:
                yield path
            return
        yield from _object(desired, live, path)
    elif isinstance(desired, (list, tuple)):
        yield from _list(desired, live if isinstance(live, (list, tuple)) else (), path)
    elif desired != live:
        yield path


def _object(desired: Mapping[str, Any], live: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, value in desired.items():
        yield from _any(value, live.get(key), f"{path}.{key}" if path else key)


def _list(desired: Sequence[Any], live: Sequence[Any], path: str) -> Iterator[str]:
    """Items with names are compared by name, because others may add items such as a sidecar; all others by position."""
    if desired and all(isinstance(each, Mapping) and "name" in each for each in desired):
        named = {each.get("name"): each for each in live if isinstance(each, Mapping)}
        for each in desired:
            yield from _any(each, named.get(each["name"]), f"{path}[{each['name']}]")
        return
    if len(desired) != len(live):
        yield path
        return
    for position, (wanted, actual) in enumerate(zip(desired, live, strict=True)):
        yield from _any(wanted, actual, f"{path}[{position}]")
