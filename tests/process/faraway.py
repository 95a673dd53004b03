"""PostgreSQL at an address of its own, behind a network that can stop to carry packets without a word."""

import contextlib
import ctypes
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator

from tests.process.gate import Gate

CLONE_NEWNET = 0x40000000
PORT = 5432


class Far:
    """What connects to `host` reaches a port of our loopback. The address is of 198.18.0.0/15, kept for such tests."""

    def __init__(self, target: int) -> None:
        tag = secrets.token_hex(3)
        third = secrets.randbelow(250) + 1
        self.near, self.host = f"198.18.{third}.1", f"198.18.{third}.2"
        self._space, self._link, self._target = f"far-{tag}", f"far{tag}", target
        self._listening: list[socket.socket] = []
        self._gate = contextlib.ExitStack()

    def open(self) -> None:
        _ip("netns", "add", self._space)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self._space)
        _ip("addr", "add", f"{self.near}/30", "dev", self._link)
        _ip("link", "set", self._link, "up")
        _ip("-n", self._space, "addr", "add", f"{self.host}/30", "dev", "eth0")
        _ip("-n", self._space, "link", "set", "eth0", "up")
        listens = threading.Thread(target=self._listen)  # a namespace is a thread's own; its sockets stay where made
        listens.start()
        listens.join()
        self._gate.enter_context(Gate(self._listening.pop(), self._target))

    def drop(self) -> None:
        """No packet comes back any more, not even a refusal."""
        _ip("-n", self._space, "route", "add", "blackhole", f"{self.near}/32")

    def carry(self) -> None:
        """Packets come back again."""
        _ip("-n", self._space, "route", "del", "blackhole", f"{self.near}/32")

    def close(self) -> None:
        self._gate.close()
        for argv in (("link", "del", self._link), ("netns", "del", self._space)):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip(*argv)

    def _listen(self) -> None:
        with open(f"/run/netns/{self._space}", "rb") as space:
            if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            self._listening.append(socket.create_server((self.host, PORT)))


def _ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, stdin=subprocess.DEVNULL)


@contextlib.contextmanager
def far(target: int) -> Iterator[Far]:
    """A way to the port `target`, gone afterwards. CalledProcessError where no network namespace can be made."""
    found = Far(target)
    try:
        found.open()
        yield found
    finally:
        found.close()
