"""Readiness and liveness of the pgbouncer container: a login to the console over TCP. Exit 0 when it answers.

A login knows a hung process, for which the kernel still accepts connections; and it stays well
when PostgreSQL is down or max_client_conn is reached: the console is exempt.
Run as `python3 -IS probe.py [run directory] [port]`; standard library only.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # -I leaves the script's own directory out

import socket

import wire  # type: ignore[import-not-found, unused-ignore]  # a sibling script here, not a package's module

TIMEOUT_SECONDS = 2.0


def main(arguments: list[str]) -> int:
    """0 when PgBouncer answered, 1 with one line on stderr when not."""
    run_dir = arguments[0] if arguments else "/run/pgbouncer"
    port = int(arguments[1]) if len(arguments) > 1 else 6432
    try:
        with open(os.path.join(run_dir, "probe-user"), encoding="utf-8") as file:
            user = file.read().strip()
        with wire.Session(socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)) as session:
            session.login(user, "pgbouncer")
    except (OSError, wire.WireError) as error:
        print(f"PgBouncer does not answer on 127.0.0.1:{port}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
