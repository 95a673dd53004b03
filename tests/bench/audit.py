"""Counting requests in the API server's audit log."""

import json
from collections import Counter
from pathlib import Path

READS = frozenset({"get", "list"})
WRITES = frozenset({"create", "update", "patch", "delete"})


def end(log: Path) -> int:
    """Where the log ends now, to count from there."""
    return log.stat().st_size


def since(log: Path, mark: int, user: str, namespace: str) -> Counter[str]:
    """Requests of `user` on objects of `namespace` since `mark`: `verb resource/subresource` to count. No watches."""
    found: Counter[str] = Counter()
    with log.open("rb") as file:
        file.seek(mark)
        for line in file:
            event = json.loads(line)
            about = event.get("objectRef") or {}
            if event["user"]["username"] != user or event["stage"] != "ResponseComplete" or event["verb"] == "watch":
                continue
            if about.get("namespace") not in {namespace, None} or about.get("resource") == "leases":
                continue
            resource = "/".join(filter(None, (about.get("resource"), about.get("subresource"))))
            found[f"{event['verb']} {resource}"] += 1
    return found


def writes(counted: Counter[str], *, pods: bool = False, events: bool = False) -> int:
    """All writes; pokes of pods and events only where asked for."""
    return sum(
        count
        for key, count in counted.items()
        if key.split()[0] in WRITES
        and (pods or not key.endswith("pods/status"))
        and (events or not key.endswith(" events"))
    )


def reads(counted: Counter[str]) -> int:
    """All gets and lists."""
    return sum(count for key, count in counted.items() if key.split()[0] in READS)
