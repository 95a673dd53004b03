"""New server connections when the operator asks for them: each new token in the pod's annotation renews all once."""

from collections.abc import Iterable

from pgbouncer_operator.agent import console, files
from pgbouncer_operator.agent.console import CommandRefused, Unreachable
from pgbouncer_operator.agent.settings import AgentSettings

TOKEN = "reconnected"  # noqa: S105 - the name of a file


class Reconnector:
    """Remembers the last token for the pod's life. The first token asks for nothing: all connections are new then."""

    def __init__(self, settings: AgentSettings) -> None:
        """Read the token that an earlier worker left in the run directory."""
        self._settings = settings
        self._path = settings.run_dir / TOKEN
        self._token = self._path.read_text() if self._path.exists() else None

    @property
    def token(self) -> str:
        """The token of the last reconnect, or the first token; empty before any."""
        return self._token or ""

    def step(self, wanted: str, databases: Iterable[str]) -> bool:
        """Renew every server connection, each between two transactions, when `wanted` is new. True when it did so."""
        if wanted == self._token:
            return False
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
        files.write({str(self._path): wanted.encode()})
        self._token = wanted
        return not first
