"""Readiness of the pgbouncer container: a login to the console over TCP. Exit 0 when it answers.

A login fails when the process hangs; a TCP connection alone would not, since the kernel accepts it. A login to the
console works when PostgreSQL is down and when max_client_conn is reached. Near the end of a drain it fails without a
login, so that no new client comes: see drain.py.
Run as `python3 -IS probe.py [run directory] [port]`. It uses the standard library only.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # -I leaves the script's own directory out

import socket
import struct

import wire  # type: ignore[import-not-found, unused-ignore]  # a sibling script here, not a package's module

TIMEOUT_SECONDS = 2.0


def main(arguments: list[str]) -> int:
    """0 when PgBouncer answered, 1 with one line on stderr when not."""
    run_dir = arguments[0] if arguments else "/run/pgbouncer"
    port = int(arguments[1]) if len(arguments) > 1 else 6432
    try:
        with open(os.path.join(run_dir, "probe-user"), encoding="utf-8") as file:
            user = file.read().strip()
        if _leaves(run_dir, port):
            print("This pod leaves and takes no more new clients. It serves its last ones.", file=sys.stderr)
            return 1
        _login(user, port)
    except (OSError, wire.WireError) as error:
        print(f"PgBouncer does not answer on 127.0.0.1:{port}: {error}", file=sys.stderr)
        return 1
    return 0


def _leaves(run_dir: str, port: int) -> bool:
    """Whether drain.py has made the PgBouncer that runs now unready. One that kubelet has restarted since serves."""
    try:
        with open(os.path.join(run_dir, "unready"), encoding="utf-8") as file:
            leaving = file.read().split()
    except FileNotFoundError:
        return False
    return leaving == [str(each) for each in wire.process(os.path.join(run_dir, f".s.PGSQL.{port}"))]


def _login(user: str, port: int) -> None:
    """Log in without TLS, and with TLS where PgBouncer requires it."""
    try:
        with wire.Session(_connect(port)) as session:
            session.login(user, "pgbouncer")
    except wire.WireError as error:
        if "SSL required" not in str(error):
            raise
        with wire.Session(_secured(port)) as session:
            session.login(user, "pgbouncer")


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)


def _secured(port: int) -> socket.socket:
    import ssl  # imported only where it is needed: a probe runs often

    connection = _connect(port)
    connection.sendall(struct.pack("!ii", 8, 80877103))  # SSLRequest
    if connection.recv(1) != b"S":
        raise OSError("it requires TLS and does not offer it")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # no certificate names 127.0.0.1, and no other process can listen there
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
