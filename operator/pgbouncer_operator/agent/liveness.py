"""Liveness of the pgbouncer container: exit 1 only when PgBouncer's event loop stands still, which a restart mends.

The loop waits for the next event at least three times a second, because its janitor runs every 0.333 s. The kernel
counts each wait as a voluntary context switch of the process. A count that grows proves a loop that turns, so this
probe needs neither a login nor an open file of PgBouncer: many clients, many logins or a slow node do not make it fail.
A loop that is busy without a pause does not wait; then the console has to answer.
Run as `python3 -IS liveness.py [run directory] [port] [pid]`. It uses the standard library only.
Counters: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # -I leaves the script's own directory out

import time

import wire  # type: ignore[import-not-found, unused-ignore]  # a sibling script here, not a package's module

WINDOW_SECONDS = 5.0
POLL_SECONDS = 0.2
ANSWER_SECONDS = 5.0
_PID = "1"  # the container's command becomes PgBouncer
_COUNTER = "voluntary_ctxt_switches:"


def main(arguments: list[str]) -> int:
    """0 when PgBouncer's loop turns, or when that is unknown; 1 with one line on stderr when it stands still."""
    defaults = ["/run/pgbouncer", "6432", _PID]
    run_dir, port, pid = [*arguments, *defaults[len(arguments) :]]
    status = f"/proc/{pid}/status"
    if turns(status) or _answers(os.path.join(run_dir, f".s.PGSQL.{port}")):
        return 0
    if waits(status) is None:
        print(f"{status} does not count waits: whether PgBouncer hangs is unknown", file=sys.stderr)
        return 0
    print(f"PgBouncer hangs: its event loop has stood still for {WINDOW_SECONDS:g} s", file=sys.stderr)
    return 1


def turns(status: str, window: float = WINDOW_SECONDS, poll: float = POLL_SECONDS) -> bool:
    """Whether the process waits for an event within `window` seconds. False, too, when its waits are not counted.

    status: path of the process's status file. poll: seconds between two reads.
    """
    first, until = waits(status), time.monotonic() + window
    while first is not None and time.monotonic() < until:
        time.sleep(poll)
        if waits(status) not in {first, None}:
            return True
    return False


def waits(status: str) -> int | None:
    """How many times the process has waited so far; None when the kernel does not say."""
    try:
        with open(status, encoding="utf-8", errors="replace") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(_COUNTER)), None)
    except (OSError, ValueError, IndexError):
        return None


def _answers(console: str) -> bool:
    try:
        with wire.console(console, ANSWER_SECONDS):
            return True
    except (OSError, wire.WireError):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
