"""Files in the run directory. A reader sees the old content or the new, and only the agent's uid may read them."""

import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

_MODE = 0o600
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}")  # names that `write` makes; the console's socket ends with a port


def write(files: Mapping[str, bytes]) -> None:
    """Write every file in order, each by a temporary file and a rename.

    OSError when one does not fit. Its temporary file is removed, because the run directory is a small memory volume.
    """
    for path, content in files.items():
        target = Path(path)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            temporary.replace(target)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def clean(directory: Path) -> None:
    """Remove temporary files that a killed writer left in `directory` or below it. Call it before any write."""
    for path in directory.rglob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def kept(path: Path, make: bytes) -> bytes:
    """The content of `path`. When it does not exist, write `make` there first: a pod keeps it for its life."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        write({str(path): make})
        return make
