"""Where a live object differs from what is desired of it. Pure.

Only fields that are desired are compared: what the API server defaults, or others add, is theirs.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def drift(desired: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths at which `live` lacks or contradicts `desired`, sorted; empty when nothing needs a write."""
    return tuple(sorted(_object(desired, live, "")))


def _any(desired: Any, live: Any, path: str) -> Iterator[str]:
    if isinstance(desired, Mapping):
        if not isinstance(live, Mapping):
            # The API server drops empty objects of some kinds, and an absent object equals an empty one.
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
    """Named items are matched by name, because others may add items (a sidecar); anything else by place and length."""
    if desired and all(isinstance(each, Mapping) and "name" in each for each in desired):
        named = {each.get("name"): each for each in live if isinstance(each, Mapping)}
        for each in desired:
            yield from _any(each, named.get(each["name"]), f"{path}[{each['name']}]")
        return
    if len(desired) != len(live):
        yield path
        return
    for place, (wanted, found) in enumerate(zip(desired, live, strict=True)):
        yield from _any(wanted, found, f"{path}[{place}]")
