"""The preStop hook of the pgbouncer container: clients leave, then transactions end, then PgBouncer stops.

Run as `python3 -IS drain.py --endpoint-delay 5 --timeout 120 --transaction 60 [--run-dir …] [--port …]`. It uses the
standard library only, since it runs in PgBouncer's cgroup. The steps, for every pool mode:

1. Write <run dir>/draining for the agent. It names the PgBouncer that drains: kubelet also runs this hook before it
   restarts a PgBouncer that hangs, and the next one serves. Resume paused databases: their clients would wait until
   they are closed. The agent resumes them too, but it may not run.
2. The listener stays open. Wait until only console sessions are left and no client has connected for the endpoint
   delay: a client that connects was still routed to this pod. Then return, and kubelet's SIGTERM ends PgBouncer. The
   file says whether new clients may come. When none may, the agent gives back the connections that the rest cannot use.
   Some time before the timeout write <run dir>/unready, if other pods serve: probe.py fails from then on. kube-proxy
   sends new clients to a terminating pod when no other is ready, unless the pod is unready itself. So nobody comes
   shortly before step 3, which would fail the first transaction.
   https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#serving
3. At the timeout send SHUTDOWN WAIT_FOR_SERVERS, so that transactions end, and wait until PgBouncer has exited. A
   SIGTERM after it is a second shutdown signal, at which PgBouncer exits at once. So this waits until the transactions
   have ended or their time is over.

Where the pod's grace period is shorter than the drain, kubelet sends SIGTERM while this still runs, to PgBouncer only,
and SIGKILL 2 s later. At SIGTERM PgBouncer closes its port and waits for its clients. Then step 3 comes at once.

Every step writes what became of the clients to <run dir>/drained, since this process ends with PgBouncer's container.
The agent reports it in its log and its metrics.
Signals: https://www.pgbouncer.org/usage.html#signals
"""

import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # -I leaves the script's own directory out

import time

import wire  # type: ignore[import-not-found, unused-ignore]  # a sibling script here, not a package's module

POLL_SECONDS = 0.25
# After so long without a new client most likely none comes, and other pods wait for this pod's connections.
QUIET_SECONDS = 2.0
ANSWER_SECONDS = 2.0
# In which kubelet finds that the readiness probe fails: period * failureThreshold + timeoutSeconds of the template.
PROBE_SECONDS = 23
# In which clients that came just before the pod was out of the Service leave by themselves.
LEAVE_SECONDS = 10
_OPTIONS = {
    "--endpoint-delay": "5",
    "--timeout": "120",
    "--transaction": "60",
    "--probes": str(PROBE_SECONDS),
    "--run-dir": "/run/pgbouncer",
    "--port": "6432",
}
_SHUTDOWN = "SHUTDOWN WAIT_FOR_SERVERS"


class Count:
    """The clients of PgBouncer at one moment."""

    def __init__(self, clients: int = 0, busy: int = 0, logins: int = 0) -> None:
        """The defaults are those of a process that has exited.

        clients: without console sessions. busy: clients in a transaction or, in session mode, with a server connection.
        logins: of clients, since PgBouncer started.
        """
        self.clients, self.busy, self.logins = clients, busy, logins


class Times:
    """The deadlines of a drain, in seconds since it began, and the endpoint delay."""

    def __init__(self, options: dict[str, str]) -> None:
        """options: the arguments by name."""
        keys = ("--endpoint-delay", "--timeout", "--transaction", "--probes")
        self.delay, timeout, self.transaction, probes = (float(options[key]) for key in keys)
        self.end = self.delay + timeout  # then PgBouncer is shut down
        self.unready = self.end - probes - self.delay - LEAVE_SECONDS  # from then on the pod may be unready


class Report:
    """Files that say how far the drain is: two for the agent, and one for the readiness probe."""

    def __init__(self, run_dir: str, console: str) -> None:
        """The drain begins now. console: PgBouncer's socket."""
        self._console = console
        self._process = wire.NO_PROCESS
        self._flag = os.path.join(run_dir, "draining")
        self._result = os.path.join(run_dir, "drained")
        self._unready = os.path.join(run_dir, "unready")
        self._ready = True
        self._begun = time.monotonic()
        self._written = ""

    def expect(self, newcomers: bool) -> None:
        """Write which PgBouncer drains, and whether new clients may still come to this pod.

        Every PgBouncer that this process finds is the one of its own container, and ends with it.
        """
        found = wire.process(self._console)
        self._process = self._process if found == wire.NO_PROCESS else found
        inode, created = self._process
        flag = f'{{"newcomers": {"true" if newcomers else "false"}, "process": [{inode}, {created}]}}'
        if flag != self._written:
            _write(self._flag, flag)
        self._written = flag

    def unready(self) -> None:
        """Let the readiness probe of the PgBouncer that drains fail from now on."""
        try:
            if self._ready:
                _write(self._unready, f"{self._process[0]} {self._process[1]}")
                self._ready = False
        except OSError:
            return  # the directory is full: the drain goes on, and the next look tries again

    def keep(self, done: bool, left: int, closed: int = 0, cut: int = 0) -> None:
        """Write the number of clients that left by themselves, were closed between two transactions, or cut in one."""
        seconds = time.monotonic() - self._begun
        _write(
            self._result,
            f'{{"closed": {closed}, "cut": {cut}, "done": {"true" if done else "false"},'
            f' "left": {left}, "seconds": {seconds:.2f}}}',
        )


def main(arguments: list[str]) -> int:
    """Drain. Returns 0 when no transaction is cut, 1 when some still run at the end, 2 for bad arguments."""
    options = dict(_OPTIONS)
    if len(arguments) % 2 or not set(arguments[::2]) <= options.keys():
        print(f"usage: drain.py {' '.join(f'[{key} {value}]' for key, value in options.items())}", file=sys.stderr)
        return 2
    options |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    console = os.path.join(options["--run-dir"], f".s.PGSQL.{options['--port']}")
    first = _count(console) or Count()  # before step 1: these are the clients that the drain is about
    place = (console, int(options["--port"]))
    return _drain(place, first, Report(options["--run-dir"], console), Times(options))


def _drain(place: tuple[str, int], first: Count, report: Report, times: Times) -> int:
    """place: PgBouncer's socket and port."""
    console, _ = place
    if not _hands_over(console):
        times.unready = times.end
    report.expect(newcomers=True)
    _resume(console)
    rest = _wait_for_clients(place, first.logins, report, times)
    if rest is not None and not rest.clients:
        # A process that has exited has no count of logins any more.
        report.keep(True, gone(first, rest) if rest.logins else first.clients)
        return 0
    left = gone(first, rest) if rest is not None else 0
    clients = rest.clients if rest is not None else first.clients
    if not _run(console, _SHUTDOWN):
        print(f"PgBouncer refused {_SHUTDOWN}: kubelet stops it now, and its transactions are cut", file=sys.stderr)
        report.keep(True, left, 0, clients)
        return 1
    report.keep(False, left, clients)
    busy = _wait_for_exit(console, times.transaction, rest.busy if rest is not None else clients)
    cut = min(busy, clients)
    report.keep(True, left, clients - cut, cut)
    return 1 if busy else 0


def gone(first: Count, last: Count) -> int:
    """Clients that were connected at `first` or connected later, and were not connected at `last`."""
    return max(0, first.clients + last.logins - first.logins - last.clients)


def _wait_for_clients(place: tuple[str, int], logins: int, report: Report, times: Times) -> Count | None:
    """Wait until no client is left and none has connected for a while. Returns the last count, None without an answer.

    It ends early when PgBouncer has closed its port. place: PgBouncer's socket and port. logins: their number when the
    drain began. The clock is read before each count and after it, because this process may stop in between while
    clients connect.

    The pod becomes unready only if new clients have once stayed away for a while: then other pods were ready, and those
    that leave now leave later than this one. Where nobody has stayed away, this pod may be the only one that serves.
    """
    console, port = place
    begun = last_login = time.monotonic()
    others = False
    while True:
        now, count = time.monotonic(), _count(console)
        if count is not None and count.logins > logins:
            last_login, logins = time.monotonic(), count.logins
        away = now - last_login if count is not None else 0.0
        report.expect(newcomers=count is None or away < min(times.delay, QUIET_SECONDS))
        others = others or away >= max(times.delay, QUIET_SECONDS)
        if others and now - begun >= times.unready:
            report.unready()
        left = count is not None and not count.clients and away >= times.delay
        if left or now - begun >= times.end or not listens(port):
            return count
        time.sleep(POLL_SECONDS)


def _wait_for_exit(console: str, seconds: float, busy: int) -> int:
    """Wait until PgBouncer has exited. When it has not after `seconds`, returns how many clients are busy, or 1."""
    until = time.monotonic() + seconds
    while _runs(console):
        if time.monotonic() >= until:
            count = _count(console)
            return max(1, count.busy if count is not None else busy)
        time.sleep(POLL_SECONDS)
    return 0


def _write(path: str, text: str) -> None:
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text + "\n")
    os.replace(path + ".new", path)


def _count(console: str) -> Count | None:
    """The clients that are connected: none when the process has exited, None when it does not answer."""
    try:
        with wire.console(console, ANSWER_SECONDS) as session:
            pools, lists, stats = (session.query(f"SHOW {each}") for each in ("POOLS", "LISTS", "STATS"))
    except (ConnectionRefusedError, FileNotFoundError):
        return Count()
    except (OSError, wire.WireError):
        return None
    return counted(pools, lists, stats)


def counted(pools: list[wire.Row], lists: list[wire.Row], stats: list[wire.Row]) -> Count:
    """The clients of SHOW POOLS without the console's, with cancel requests, and the clients that log in just now."""
    columns = ("cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req")
    own = [pool for pool in pools if pool["database"] != "pgbouncer"]
    clients = sum(int(pool[column]) for pool in own for column in columns)
    clients += sum(int(row["items"]) for row in lists if row["list"] == "login_clients")
    busy = sum(int(pool["sv_active"]) for pool in own)
    logins = sum(int(row["total_client_login_count"]) for row in stats if row["database"] != "pgbouncer")
    return Count(clients, busy, logins)


def _hands_over(console: str) -> bool:
    """Whether a database has more than one connection, so that the agent hands some over. Ask before the agent does.

    Otherwise a successor most likely waits for the end of this pod, and nobody else takes new clients.
    """
    try:
        with wire.console(console, ANSWER_SECONDS) as session:
            databases = session.query("SHOW DATABASES")
    except (OSError, wire.WireError):
        return True
    return any(int(row["pool_size"]) > 1 for row in databases if row["name"] != "pgbouncer")


def _resume(console: str) -> None:
    try:
        with wire.console(console, ANSWER_SECONDS) as session:
            for row in session.query("SHOW DATABASES"):
                if row["paused"] == "1":
                    session.query('RESUME "' + row["name"].replace('"', '""') + '"')
    except (OSError, wire.WireError):
        return  # it has exited or does not answer: no client waits for a RESUME


def listens(port: int) -> bool:
    """Whether a process listens on the port. It finds out without a connection: nothing can be bound beside a listener.

    With SO_REUSEADDR the connections that a listener has left do not count.
    """
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError:
        return True
    return False


def _runs(console: str) -> bool:
    """Whether PgBouncer has not exited. It need not answer: one that hangs runs, too."""
    try:
        wire.unix(console, ANSWER_SECONDS).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True
    return True


def _run(console: str, command: str) -> bool:
    """True when PgBouncer accepts the command. Without a busy client it may exit before it answers."""
    try:
        with wire.console(console, ANSWER_SECONDS) as session:
            session.query(command)
    except (OSError, wire.WireError) as error:
        if _runs(console):
            print(f"{command}: {error}", file=sys.stderr)
            return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
