"""A listener that hands connections on to ports of this machine, and leaves nothing behind when it is closed."""

import contextlib
import itertools
import selectors
import socket
import threading


class Gate:
    """Hands what comes to `listener` on to `ports`, one after the other in turn, as a Service does to its pods.

    Leaving it ends its threads before their sockets are closed. A thread that still waited on a closed descriptor
    would, woken by a signal, wait on whatever has that number by then, and take the connections of somebody else.
    """

    def __init__(self, listener: socket.socket, *ports: int) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._ports = itertools.cycle(ports)
        self._accepts = threading.Thread(target=self._accept)
        self._handed: list[tuple[threading.Thread, socket.socket]] = []

    def lead_to(self, *ports: int) -> None:
        """Hand on to other ports what comes from now on. What is connected stays, as behind a Service."""
        self._ports = itertools.cycle(ports)

    def __enter__(self) -> "Gate":
        self._accepts.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepts.join()
        self._listener.close()
        for thread, near in self._handed:
            with contextlib.suppress(OSError):  # closed already: its client or its server had enough
                near.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # shut down
            thread = threading.Thread(target=_hand_on, args=(near, next(self._ports)))
            self._handed.append((thread, near))
            thread.start()


def _hand_on(near: socket.socket, port: int) -> None:
    """Bytes both ways until one side has enough, or nobody listens on that port."""
    with near, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as far:
        other = {near: far, far: near}
        with selectors.DefaultSelector() as ready:
            for each in other:
                ready.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    source = near if key.fileobj is near else far
                    if not (data := source.recv(65536)):
                        return
                    other[source].sendall(data)
