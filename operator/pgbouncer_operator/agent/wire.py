"""The few messages of PostgreSQL's protocol that a probe and a drain need: trust login, simple query, text rows.

Standard library only, and no import of this package: `drain.py` and `probe.py` run it as plain scripts in PgBouncer's
own container, where every millisecond and megabyte is PgBouncer's.
Source: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import os
import socket
import struct

NO_PROCESS = (0, 0)  # of `process`
_PROTOCOL_3 = 196608
_AUTHENTICATION_OK = 0

Row = dict[str, str]


class WireError(Exception):
    """The server refused, or did not follow the protocol. The message is the server's own."""


class Session:
    """One connection. Not safe for threads. Close it: an open one counts as a client of PgBouncer."""

    def __init__(self, connection: socket.socket) -> None:
        """Take over `connection`, whose timeout bounds every read."""
        self._connection = connection
        self._pending = b""

    def __enter__(self) -> "Session":
        """The session itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def login(self, user: str, database: str) -> None:
        """Log in without a password. Raises WireError when the server refuses or asks for one."""
        pairs = f"user\0{user}\0database\0{database}\0application_name\0pgbouncer-operator\0\0".encode()
        body = struct.pack("!i", _PROTOCOL_3) + pairs
        self._connection.sendall(struct.pack("!i", len(body) + 4) + body)
        while True:
            kind, payload = self._message()
            if kind == b"Z":
                return
            if kind == b"E":
                raise WireError(error_text(payload))
            if kind == b"R" and struct.unpack("!i", payload[:4])[0] != _AUTHENTICATION_OK:
                raise WireError("the server asks for a password where none is expected")

    def send(self, text: str) -> None:
        """Send one command and leave its answer unread: only `close` may follow."""
        body = text.encode() + b"\0"
        self._connection.sendall(b"Q" + struct.pack("!i", len(body) + 4) + body)

    def query(self, text: str) -> list[Row]:
        """Run one command. Returns its rows by column name, NULL as an empty string. Raises WireError."""
        self.send(text)
        columns: list[str] = []
        rows: list[Row] = []
        failure = ""
        while True:
            kind, payload = self._message()
            match kind:
                case b"T":
                    columns = _columns(payload)
                case b"D":
                    rows.append(dict(zip(columns, _values(payload), strict=True)))
                case b"E":
                    failure = error_text(payload)
                case b"Z":
                    if failure:
                        raise WireError(failure)
                    return rows

    def close(self) -> None:
        """Send Terminate and close."""
        # Not contextlib.suppress: its import would cost a probe more than everything else here.
        try:  # noqa: SIM105
            self._connection.sendall(b"X\0\0\0\4")
        except OSError:
            pass  # the connection is closed already
        self._connection.close()

    def _message(self) -> tuple[bytes, bytes]:
        head = self._exactly(5)
        return head[:1], self._exactly(struct.unpack("!i", head[1:])[0] - 4)

    def _exactly(self, size: int) -> bytes:
        while len(self._pending) < size:
            chunk = self._connection.recv(65536)
            if not chunk:
                raise WireError("the server closed the connection")
            self._pending += chunk
        taken, self._pending = self._pending[:size], self._pending[size:]
        return taken


def process(path: str) -> tuple[int, int]:
    """Identifies the process that listens on the Unix socket `path`; NO_PROCESS when there is none.

    Every PgBouncer creates its own socket. Inode and time of creation: a file system may use an inode number again.
    """
    try:
        status = os.stat(path)
    except OSError:
        return NO_PROCESS
    return (status.st_ino, status.st_mtime_ns)


def unix(path: str, timeout: float) -> socket.socket:
    """A connected Unix socket. Raises OSError when no process listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def console(path: str, timeout: float) -> Session:
    """A session with PgBouncer's console on its Unix socket. Use it in a `with` block: no session may stay open.

    Raises OSError when it cannot be reached in `timeout` seconds, WireError when it refuses. It accepts its own uid.
    """
    session = Session(unix(path, timeout))
    try:
        session.login("pgbouncer", "pgbouncer")
    except BaseException:
        session.close()
        raise
    return session


def error_text(payload: bytes) -> str:
    """Severity and message of an ErrorResponse: "FATAL: no such database"."""
    fields = {part[:1]: part[1:].decode(errors="replace") for part in payload.split(b"\0") if part}
    return f"{fields.get(b'S', 'ERROR')}: {fields.get(b'M', 'no message')}"


def _columns(payload: bytes) -> list[str]:
    names, offset = [], 2
    for _ in range(struct.unpack("!h", payload[:2])[0]):
        end = payload.index(b"\0", offset)
        names.append(payload[offset:end].decode())
        offset = end + 19  # the terminator and 18 bytes about the column's type
    return names


def _values(payload: bytes) -> list[str]:
    values, offset = [], 2
    for _ in range(struct.unpack("!h", payload[:2])[0]):
        size = struct.unpack("!i", payload[offset : offset + 4])[0]
        offset += 4
        values.append(payload[offset : offset + max(size, 0)].decode(errors="replace"))
        offset += max(size, 0)
    return values
