"""Prints the entries of some packages in a hashed lock: `python3 subset.py LOCK NAME...`. Standard library only.

The pool's image runs only the agent, so it installs a few packages of the operator's lock, with the same hashes.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==", re.MULTILINE)


def subset(lock: str, names: Iterable[str]) -> str:
    """The lock's entries of `names`, in the order of the lock. Raises LookupError for a name that is not in it."""
    starts = list(ENTRY.finditer(lock))
    ends = [*(start.start() for start in starts[1:]), len(lock)]
    entries = {start["name"].lower(): lock[start.start() : end] for start, end in zip(starts, ends, strict=True)}
    if unknown := sorted(set(names) - set(entries)):
        raise LookupError(f"not in the lock: {', '.join(unknown)}; write it again with `make lock`")
    return "".join(entry for name, entry in entries.items() if name in names)


if __name__ == "__main__":
    sys.stdout.write(subset(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2:]))
