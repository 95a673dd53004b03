"""PID 1 of the agent's container: restarts the worker when it ends, reaps orphans, forwards SIGTERM.

A sidecar that does not run makes its pod NotReady, and Services would drop the pod. So the container does not end
because of a fault in the agent. The module is small on purpose: it imports nothing that could fail.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
SETTLED_SECONDS = 10.0  # after a worker that ran so long the pause is the first one again


def main(arguments: Sequence[str] = ()) -> int:
    """Run until SIGTERM or SIGINT. `arguments` go to the worker. Returns the exit code of the container."""
    return _Supervisor([sys.executable, "-m", "pgbouncer_operator.agent.worker", *arguments]).run()


def write_log(line: str) -> None:
    """Write a line of the agent to standard error after its time in UTC, in seconds, as in RFC 3339."""
    # Without an argument gmtime() reads time(2), whose clock is some milliseconds behind the one of everybody else.
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time()))
    print(f"{moment} {line}", file=sys.stderr, flush=True)


class _Supervisor:
    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._worker = 0
        self._stopping = False

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        pause = FIRST_PAUSE_SECONDS
        while True:
            started = time.monotonic()
            status = self._live()
            if self._stopping:
                return 0
            if time.monotonic() - started > SETTLED_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            write_log(f"the agent's worker ended with status {status}; it is restarted in {pause:g} s")
            self._sleep(pause)
            if self._stopping:
                return 0
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _live(self) -> int:
        """Start a worker and reap children until it ends. Returns its exit code."""
        self._worker = worker = os.posix_spawn(self._command[0], self._command, os.environ, setpgroup=0)
        if self._stopping:  # the signal arrived while there was no worker
            os.kill(self._worker, signal.SIGTERM)
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == worker:
                self._worker = 0
                _end_group(worker)
                return os.waitstatus_to_exitcode(status)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))  # a signal handler does not end a sleep, so the sleep is cut into pieces

    def _stop(self, number: int, _frame: object) -> None:
        self._stopping = True
        if self._worker:
            os.kill(self._worker, number)


def _end_group(worker: int) -> None:
    """End the PgBouncer on which a killed worker was proving a configuration."""
    try:
        os.killpg(worker, signal.SIGKILL)
    except ProcessLookupError:
        return  # no process is left


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
