"""Sleep until a volume or the run directory changes. inotify, because even idle polling costs CPU in every pod."""

import contextlib
import ctypes
import errno
import os
import select
from collections.abc import Iterable

# IN_CREATE | IN_MOVED_TO: a new `..data` link, PgBouncer's socket, drain.py's file. See inotify(7).
_CREATED_OR_MOVED_IN = 0x100 | 0x80


class Inotify:
    """Wakes one waiter. Without inotify (a node has a limit of watches) it sleeps shortly instead: no change is missed.

    kubelet renames files on the node's side of the mount. inotify watches the inode, so the container sees it too.
    """

    def __init__(self, fallback: float) -> None:
        """fallback: the longest sleep in seconds while inotify does not work."""
        self._fallback = fallback
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wake, self.waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)  # for signal.set_wakeup_fd
        self._complete = False

    def watch(self, directories: Iterable[str]) -> None:
        """Watch these directories besides those watched already. A directory that does not exist is left out."""
        self._complete = self._inotify >= 0
        for directory in directories:
            added = self._libc.inotify_add_watch(self._inotify, os.fsencode(directory), _CREATED_OR_MOVED_IN)
            if added < 0 and ctypes.get_errno() != errno.ENOENT:
                self._complete = False

    def wait(self, seconds: float) -> bool:
        """Return at a change, at a signal, or after `seconds`. True for a change or a signal."""
        sources = [self._wake] + ([self._inotify] if self._inotify >= 0 else [])
        longest = seconds if self._complete else min(seconds, self._fallback)
        ready = select.select(sources, [], [], longest)[0]
        for source in ready:
            with contextlib.suppress(BlockingIOError):
                while len(os.read(source, 65536)) == 65536:
                    pass  # only that something happened matters
        return bool(ready)
