"""New server connections when the operator asks for them: each new token on the pod renews them all once."""

from collections.abc import Iterable

from pgbouncer_operator.agent import console, files
from pgbouncer_operator.agent.console import CommandRefused, Unreachable
from pgbouncer_operator.agent.settings import AgentSettings

TOKEN = "reconnected"  # noqa: S105 - the name of a file


class Renewal:
    """Remembers the last token for the pod's life: whatever stands on the pod at first is nothing new."""

    def __init__(self, settings: AgentSettings) -> None:
        """What an earlier worker has acted on is in the run directory."""
        self._settings = settings
        self._path = settings.run_dir / TOKEN
        self._token = self._path.read_text() if self._path.exists() else None

    @property
    def token(self) -> str:
        """The last token acted on, or the one seen first; empty before."""
        return self._token or ""

    def step(self, wanted: str, databases: Iterable[str]) -> bool:
        """Renew every server connection, each between two transactions, when `wanted` is new; whether it was done."""
        if wanted == self._token:
            return False
        first = self._token is None
        try:
            if not first:
                console.command(self._settings, *console.reconnect(databases))
        except Unreachable as error:
            if not error.gone:
                return False
            # A PgBouncer that is away comes back with new connections only.
        except CommandRefused:
            return False  # a database went away meanwhile: asked again in the next turn
        files.write({str(self._path): wanted.encode()})
        self._token = wanted
        return not first
