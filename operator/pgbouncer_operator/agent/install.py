"""Bring a configuration into force: files, RELOAD, RECONNECT; and prove afterwards that it is."""

from collections.abc import Iterable
from dataclasses import dataclass

from pgbouncer_operator.agent import console, files
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.console import CommandRefused, Look, Unreachable
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.state import AgentProblem, ProblemReason

QUIET_SECONDS = 5.0


def write(candidate: Candidate) -> None:
    """Put the files in place. A PgBouncer that starts now starts on them."""
    files.write(candidate.files())


def quiet(settings: AgentSettings, databases: Iterable[str]) -> None:
    """Let transactions of databases that go away end, for a moment: a RELOAD without them cuts their clients at once.

    PAUSE answers when the last server connection is given back. Who holds on for longer than QUIET_SECONDS is cut.
    """
    for name in databases:
        try:
            console.command(settings, f"DISABLE {console.quoted(name)}")
            console.command(settings, f"PAUSE {console.quoted(name)}", seconds=QUIET_SECONDS)
        except (Unreachable, CommandRefused):
            continue


def load(settings: AgentSettings, renewed: Iterable[str]) -> AgentProblem | None:
    """Make the running PgBouncer read its files again, and renew the server connections of these databases."""
    try:
        console.command(settings, "RELOAD", *console.reconnect(renewed))
    except Unreachable as error:
        return AgentProblem(ProblemReason.CONSOLE_UNREACHABLE, str(error))
    except CommandRefused as error:
        return AgentProblem(ProblemReason.RELOAD_FAILED, f"PgBouncer refused to reload: {error}")
    return None


@dataclass(frozen=True, slots=True)
class Verification:
    """What verification found. read: the configuration was read to its last line and its limits are in force.

    over: databases that still hold more server connections than they may.
    """

    read: bool
    over: tuple[str, ...]
    complaint: str = ""

    @property
    def known(self) -> tuple[str, ...] | None:
        """`over`, None where its limits are not in force: who holds little may yet take much."""
        return self.over if self.read else None


def verify(candidate: Candidate, seen: Look) -> Verification:
    """Compare what PgBouncer shows with what it should run. Pure."""
    over = passed(candidate, seen)
    if seen.marker != candidate.marker:
        return Verification(
            False, over, f"PgBouncer runs configuration {seen.marker or '(none)'}, not {candidate.marker}"
        )
    for name, share in sorted(candidate.shares.items()):
        found = seen.databases.get(name)
        if found is None:
            return Verification(False, over, f"PgBouncer does not know database {name}")
        if found.limit != share:
            return Verification(False, over, f"PgBouncer allows database {name} {found.limit} connections, not {share}")
    return Verification(True, over)


def passed(candidate: Candidate, seen: Look) -> tuple[str, ...]:
    """The databases that hold more server connections than their shares. Pure."""
    shares = sorted(candidate.shares.items())
    return tuple(name for name, share in shares if name in seen.databases and seen.databases[name].open > share)
