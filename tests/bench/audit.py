"""Counting requests in the API server's audit log."""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

READS = frozenset({"get", "list"})
WRITES = frozenset({"create", "update", "patch", "delete"})


def end(log: Path) -> int:
    """Where the log ends now, to count from there."""
    return log.stat().st_size


def since(log: Path, mark: int, user: str, namespaces: Collection[str]) -> Counter[str]:
    """Requests of `user` on objects of `namespaces` since `mark`: `verb resource/subresource` to count. No watches."""
    found: Counter[str] = Counter()
    for event in _requests(log, mark, user):
        about = event.get("objectRef") or {}
        if event["verb"] == "watch":
            continue
        if about.get("namespace") not in {*namespaces, None} or about.get("resource") == "leases":
            continue
        resource = "/".join(filter(None, (about.get("resource"), about.get("subresource"))))
        found[f"{event['verb']} {resource}"] += 1
    return found


def creating(log: Path, mark: int, users: tuple[str, ...], namespaces: Collection[str]) -> float:
    """Seconds from the first object that one of `users` asked to create there until the last was created; no Events."""
    spans = [
        (_moment(event["requestReceivedTimestamp"]), _moment(event["stageTimestamp"]))
        for user in users
        for event in _requests(log, mark, user)
        if event["verb"] == "create"
        and event["objectRef"].get("namespace") in namespaces
        and event["objectRef"]["resource"] != "events"
    ]
    return (max(end for _, end in spans) - min(begin for begin, _ in spans)).total_seconds()


def _requests(log: Path, mark: int, user: str) -> Iterator[dict[str, Any]]:
    with log.open("rb") as file:
        file.seek(mark)
        for line in file:
            if not line.endswith(b"\n"):
                return  # it is being written
            event = json.loads(line)
            if event["user"]["username"] == user and event["stage"] == "ResponseComplete":
                yield event


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def writes(counted: Counter[str], *, pods: bool = False, events: bool = False) -> int:
    """All writes; pokes of pods and events only where asked for."""
    return sum(
        count
        for key, count in counted.items()
        if key.split()[0] in WRITES
        and (pods or not key.endswith("pods/status"))
        and (events or not key.endswith(" events"))
    )


def written(counted: Counter[str]) -> Counter[str]:
    """The writes of all kinds among what was counted, by kind."""
    return Counter({key: count for key, count in counted.items() if key.split()[0] in WRITES})


def reads(counted: Counter[str]) -> int:
    """All gets and lists."""
    return sum(count for key, count in counted.items() if key.split()[0] in READS)
