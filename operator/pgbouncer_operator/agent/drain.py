"""What the pgbouncer container does before it stops (preStop): let clients leave, then let transactions end.

Run as `python3 -IS drain.py --endpoint-delay 5 --timeout 120 --transaction 60 [--run-dir …] [--port …]`; standard
library only, since it runs in PgBouncer's cgroup. The ladder, for every pool mode:

1. tell the agent through <run dir>/draining; wait until the endpoint has been taken out everywhere;
2. the listener stays open; wait until only console sessions are left, then return: kubelet's SIGTERM ends PgBouncer;
3. at the timeout SHUTDOWN WAIT_FOR_SERVERS (transactions finish) and wait until PgBouncer has gone. SIGTERM on top of
   that is a second shutdown signal, which PgBouncer takes as "exit now": so this returns only when it is due.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # -I leaves the script's own directory out

import time
from collections.abc import Callable

import wire  # type: ignore[import-not-found, unused-ignore]  # a sibling script here, not a package's module

POLL_SECONDS = 0.25
ANSWER_SECONDS = 2.0
_OPTIONS = {
    "--endpoint-delay": "5",
    "--timeout": "120",
    "--transaction": "60",
    "--run-dir": "/run/pgbouncer",
    "--port": "6432",
}


def main(arguments: list[str]) -> int:
    """Drain. 0 when no transaction was cut by us, 1 when some still ran at the very end, 2 for bad arguments."""
    options = dict(_OPTIONS)
    if len(arguments) % 2 or not set(arguments[::2]) <= options.keys():
        print(f"usage: drain.py {' '.join(f'[{key} {value}]' for key, value in options.items())}", file=sys.stderr)
        return 2
    options |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    console = os.path.join(options["--run-dir"], f".s.PGSQL.{options['--port']}")
    delay, timeout, transaction = (float(options[key]) for key in ("--endpoint-delay", "--timeout", "--transaction"))
    _tell(options["--run-dir"], delay + timeout + transaction)
    time.sleep(delay)
    if _wait(console, _has_clients, timeout):
        return 0
    shutdown = "SHUTDOWN WAIT_FOR_SERVERS"
    if not _ask(console, shutdown):
        print(f"PgBouncer did not take {shutdown}: it is stopped as it is", file=sys.stderr)
        return 1
    return 0 if _wait(console, _is_there, transaction) else 1


def _tell(run_dir: str, seconds: float) -> None:
    """The file that makes the agent act alone: pods that terminate get no grant and no configuration any more."""
    path = os.path.join(run_dir, "draining")
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(f'{{"deadline": {time.time() + seconds:.1f}}}\n')
    os.replace(path + ".new", path)


def _wait(console: str, holds: Callable[[str], bool], seconds: float) -> bool:
    """Wait until `holds(console)` is false; False when it still is after `seconds`."""
    until = time.monotonic() + seconds
    while holds(console):
        if time.monotonic() >= until:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _has_clients(console: str) -> bool:
    """Whether anybody but console sessions is connected: yes for a process that hangs, no for one that is gone."""
    try:
        with wire.console(console, ANSWER_SECONDS) as session:
            pools, lists = session.query("SHOW POOLS"), session.query("SHOW LISTS")
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except (OSError, wire.WireError):
        return True
    return bool(clients(pools, lists))


def clients(pools: list[wire.Row], lists: list[wire.Row]) -> int:
    """Clients of SHOW POOLS without the console's, those still logging in, and cancel requests on their way."""
    columns = ("cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req")
    pooled = sum(int(pool[column]) for pool in pools if pool["database"] != "pgbouncer" for column in columns)
    return pooled + sum(int(row["items"]) for row in lists if row["list"] == "login_clients")


def _is_there(console: str) -> bool:
    try:
        wire.unix(console, ANSWER_SECONDS).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True
    return True


def _ask(console: str, command: str) -> bool:
    """Whether PgBouncer took the command. With nothing left to wait for it is gone before it has answered."""
    try:
        with wire.console(console, ANSWER_SECONDS) as session:
            session.query(command)
    except (OSError, wire.WireError) as error:
        if _is_there(console):
            print(f"{command}: {error}", file=sys.stderr)
            return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
