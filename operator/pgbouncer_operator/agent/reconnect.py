"""New server connections when the operator asks for them: each new token in the pod's annotation renews all.

The operator asks when an EndpointSlice has changed. The node may send connections to the former address for a while
longer, until its kube-proxy has followed, and behind a Service's address nobody sees where a connection ends. So all
connections are renewed again after growing pauses: what was opened too early does not stay.
https://kubernetes.io/docs/reference/networking/virtual-ips/#optimizing-iptables-mode-performance
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterable

from pgbouncer_operator.agent import console, files
from pgbouncer_operator.agent.console import CommandRefused, Unreachable
from pgbouncer_operator.agent.settings import AgentSettings

RENEWALS = "renewals"
"""A file: the token, and how many repetitions are to come. Its time is that of the last renewal."""
AGAIN = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds between a renewal and the next, for one token: two minutes in all."""
POSTPONED = 10.0  # seconds until the next try where PgBouncer does not answer or logins hang


class Reconnector:
    """Remembers the last token for the pod's life. The first token asks for nothing: all connections are new then."""

    def __init__(self, settings: AgentSettings, clock: Callable[[], float] = time.monotonic) -> None:
        """Read what an earlier worker left in the run directory, and go on where it stopped."""
        self._settings = settings
        self._clock = clock
        self._path = settings.run_dir / RENEWALS
        self._token: str | None = None
        self._pauses: tuple[float, ...] = ()
        self._due = 0.0
        self._take_up()

    @property
    def token(self) -> str:
        """The token of the last reconnect, or the first token; empty before any."""
        return self._token or ""

    def step(self, wanted: str, databases: Iterable[str]) -> bool:
        """Renew every server connection, each between two transactions, when `wanted` is new or a repetition is due.

        True when it did so.
        """
        return self._again(databases) if wanted == self._token else self._follow(wanted, databases)

    def _follow(self, wanted: str, databases: Iterable[str]) -> bool:
        first = self._token is None
        try:
            if not first:
                console.command(self._settings, *console.reconnect(databases))
        except Unreachable as error:
            if not error.gone:
                return False
            # A PgBouncer that does not run will start with new connections.
        except CommandRefused:
            return False  # a database was removed meanwhile: the next turn tries again
        self._token = wanted
        self._repeat(() if first else AGAIN)
        return not first

    def _again(self, databases: Iterable[str]) -> bool:
        """A repetition, if it is due. It must not close a login that hangs: that would count as a failed one."""
        if not self._pauses or self._clock() < self._due:
            return False
        try:
            renewed = console.renew(self._settings, databases)
        except (Unreachable, CommandRefused):
            renewed = False
        if renewed:
            self._repeat(self._pauses[1:])
        else:
            self._due = self._clock() + POSTPONED
        return renewed

    def _repeat(self, pauses: tuple[float, ...]) -> None:
        self._pauses = pauses
        self._due = self._clock() + pauses[0] if pauses else 0.0
        document = {"token": self._token, "left": len(pauses)}
        with contextlib.suppress(OSError):  # a later worker then renews once more than it needs to
            files.write({str(self._path): json.dumps(document).encode()})

    def _take_up(self) -> None:
        try:
            document = json.loads(self._path.read_bytes())
            passed = time.time() - self._path.stat().st_mtime
        except FileNotFoundError:
            return
        self._token, left = document["token"], document["left"]
        self._pauses = AGAIN[len(AGAIN) - left :]
        if self._pauses:
            self._due = self._clock() + min(max(0.0, self._pauses[0] - passed), self._pauses[0])
