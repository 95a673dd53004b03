"""What the pgbouncer container does before it stops (preStop): let clients leave, then let transactions end.

Run as `python3 -IS drain.py --endpoint-delay 5 --timeout 120 --transaction 60 [--run-dir …] [--port …]`; standard
library only, since it runs in PgBouncer's cgroup. The ladder, for every pool mode:

1. tell the agent through <run dir>/draining; let databases that are paused flow, or their clients would wait until they
   are cut (the agent does so too, but it may be dead);
2. the listener stays open; wait until only console sessions are left and nobody has come for as long as an endpoint may
   take to be gone, since whoever comes was still sent here; then return: kubelet's SIGTERM ends PgBouncer. The agent is
   told whether newcomers are to be expected: if not, it gives back what those who are left cannot use;
3. at the timeout SHUTDOWN WAIT_FOR_SERVERS (transactions finish) and wait until PgBouncer has gone. SIGTERM on top of
   that is a second shutdown signal, which PgBouncer takes as "exit now": so this returns only when it is due.

What became of the clients is kept in <run dir>/drained at every step, since this process ends with PgBouncer's
container; the agent tells it in its log and its metrics.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # -I leaves the script's own directory out

import time

import wire  # type: ignore[import-not-found, unused-ignore]  # a sibling script here, not a package's module

POLL_SECONDS = 0.25
# Nobody has come for so long: most likely nobody will. Others wait for what this pod has and may not need.
STILL_SECONDS = 2.0
ANSWER_SECONDS = 2.0
_OPTIONS = {
    "--endpoint-delay": "5",
    "--timeout": "120",
    "--transaction": "60",
    "--run-dir": "/run/pgbouncer",
    "--port": "6432",
}
_SHUTDOWN = "SHUTDOWN WAIT_FOR_SERVERS"


class Count:
    """One look at PgBouncer. clients: without the console's. busy: in a transaction, or in a session that is theirs.

    logins: of clients, since PgBouncer started.
    """

    def __init__(self, clients: int = 0, busy: int = 0, logins: int = 0) -> None:
        """Nobody, unless said otherwise: what is to be seen of a process that is gone."""
        self.clients, self.busy, self.logins = clients, busy, logins


class Report:
    """What the agent is told, in two files: that the pod drains, and what became of the clients so far."""

    def __init__(self, run_dir: str) -> None:
        """The clock runs from now."""
        self._flag = os.path.join(run_dir, "draining")
        self._result = os.path.join(run_dir, "drained")
        self._begun = time.monotonic()
        self._expected: bool | None = None

    def expect(self, newcomers: bool) -> None:
        """Whether clients may still be sent to this pod."""
        if newcomers is not self._expected:
            _write(self._flag, f'{{"newcomers": {"true" if newcomers else "false"}}}')
        self._expected = newcomers

    def keep(self, done: bool, left: int, closed: int = 0, cut: int = 0) -> None:
        """left: went by themselves. closed: by us, between two transactions. cut: in the middle of one."""
        seconds = time.monotonic() - self._begun
        _write(
            self._result,
            f'{{"closed": {closed}, "cut": {cut}, "done": {"true" if done else "false"},'
            f' "left": {left}, "seconds": {seconds:.2f}}}',
        )


def main(arguments: list[str]) -> int:
    """Drain. 0 when no transaction was cut by us, 1 when some still ran at the very end, 2 for bad arguments."""
    options = dict(_OPTIONS)
    if len(arguments) % 2 or not set(arguments[::2]) <= options.keys():
        print(f"usage: drain.py {' '.join(f'[{key} {value}]' for key, value in options.items())}", file=sys.stderr)
        return 2
    options |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    console = os.path.join(options["--run-dir"], f".s.PGSQL.{options['--port']}")
    delay, timeout, transaction = (float(options[key]) for key in ("--endpoint-delay", "--timeout", "--transaction"))
    first = _look(console) or Count()  # before anybody is told: who is here now is who the drain is about
    return _drain(console, first, Report(options["--run-dir"]), (delay, timeout, transaction))


def _drain(console: str, first: Count, report: Report, times: tuple[float, float, float]) -> int:
    delay, timeout, transaction = times
    report.expect(newcomers=True)
    _resume(console)
    rest = _leave(console, first.logins, report, (delay, delay + timeout))
    if rest is not None and not rest.clients:
        # A process that is gone has taken its count of logins along.
        report.keep(True, gone(first, rest) if rest.logins else first.clients)
        return 0
    left = gone(first, rest) if rest is not None else 0
    clients = rest.clients if rest is not None else first.clients
    if not _ask(console, _SHUTDOWN):
        print(f"PgBouncer did not take {_SHUTDOWN}: it is stopped as it is", file=sys.stderr)
        report.keep(True, left, 0, clients)
        return 1
    report.keep(False, left, clients)
    busy = _finish(console, transaction, rest.busy if rest is not None else clients)
    cut = min(busy, clients)
    report.keep(True, left, clients - cut, cut)
    return 1 if busy else 0


def gone(first: Count, last: Count) -> int:
    """Clients that were there at `first` or came after, and were gone at `last`."""
    return max(0, first.clients + last.logins - first.logins - last.clients)


def _leave(console: str, logins: int, report: Report, times: tuple[float, float]) -> Count | None:
    """Wait until no client is left and none has come for a while; the last look, None without an answer.

    logins: how many there had been when the drain began. times: how long nobody must have come, and how long to wait
    at most. The clock is read before a look and after it: this process may stand still in between, and clients come.
    """
    quiet, seconds = times
    begun = came = time.monotonic()
    while True:
        now, seen = time.monotonic(), _look(console)
        if seen is not None and seen.logins > logins:
            came, logins = time.monotonic(), seen.logins
        report.expect(newcomers=seen is None or now - came < min(quiet, STILL_SECONDS))
        left = seen is not None and not seen.clients and now - came >= quiet
        if left or now - begun >= seconds:
            return seen
        time.sleep(POLL_SECONDS)


def _finish(console: str, seconds: float, busy: int) -> int:
    """Wait until PgBouncer has gone; how many clients were busy when it had not after `seconds`, at least 1."""
    until = time.monotonic() + seconds
    while _is_there(console):
        if time.monotonic() >= until:
            seen = _look(console)
            return max(1, seen.busy if seen is not None else busy)
        time.sleep(POLL_SECONDS)
    return 0


def _write(path: str, text: str) -> None:
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text + "\n")
    os.replace(path + ".new", path)


def _look(console: str) -> Count | None:
    """Who is connected but console sessions: nobody to a process that is gone, None for one that hangs."""
    try:
        with wire.console(console, ANSWER_SECONDS) as session:
            pools, lists, stats = (session.query(f"SHOW {each}") for each in ("POOLS", "LISTS", "STATS"))
    except (ConnectionRefusedError, FileNotFoundError):
        return Count()
    except (OSError, wire.WireError):
        return None
    return counted(pools, lists, stats)


def counted(pools: list[wire.Row], lists: list[wire.Row], stats: list[wire.Row]) -> Count:
    """Clients of SHOW POOLS without the console's, those still logging in, and cancel requests on their way."""
    columns = ("cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req")
    own = [pool for pool in pools if pool["database"] != "pgbouncer"]
    clients = sum(int(pool[column]) for pool in own for column in columns)
    clients += sum(int(row["items"]) for row in lists if row["list"] == "login_clients")
    busy = sum(int(pool["sv_active"]) for pool in own)
    logins = sum(int(row["total_client_login_count"]) for row in stats if row["database"] != "pgbouncer")
    return Count(clients, busy, logins)


def _resume(console: str) -> None:
    try:
        with wire.console(console, ANSWER_SECONDS) as session:
            for row in session.query("SHOW DATABASES"):
                if row["paused"] == "1":
                    session.query('RESUME "' + row["name"].replace('"', '""') + '"')
    except (OSError, wire.WireError):
        return  # it is gone, or hangs: nobody waits behind a pause then


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
