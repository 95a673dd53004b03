"""Bring a configuration into force (files, RELOAD, RECONNECT), and verify afterwards that it is in force."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pgbouncer_operator.agent import console, files
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.console import CommandRefused, ConsoleAnswer, Unreachable
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.reasons import ProblemReason
from pgbouncer_operator.protocol.state import AgentProblem

PAUSE_SECONDS = 5.0  # for the last transactions of a database that is removed


def write(candidate: Candidate) -> None:
    """Put the files in place. A PgBouncer that starts now starts on them."""
    files.write(candidate.files())


def pause_removed(settings: AgentSettings, databases: Iterable[str]) -> None:
    """Pause databases before a RELOAD removes them: it closes their clients at once, in the middle of a transaction.

    PAUSE answers when the last server connection is idle. A transaction that lasts longer than PAUSE_SECONDS is cut.
    """
    for name in databases:
        try:
            console.command(settings, f"DISABLE {console.quoted(name)}")
            console.command(settings, f"PAUSE {console.quoted(name)}", seconds=PAUSE_SECONDS)
        except (Unreachable, CommandRefused):
            continue


def load(settings: AgentSettings, renewed: Iterable[str]) -> AgentProblem | None:
    """Make the running PgBouncer read its files again, and renew the server connections of these databases."""
    try:
        console.command(settings, "RELOAD", *console.reconnect(renewed))
    except Unreachable as error:
        return AgentProblem(ProblemReason.CONSOLE_UNREACHABLE, f"{error}; the agent tries again until it answers")
    except CommandRefused as error:
        return AgentProblem(ProblemReason.RELOAD_FAILED, f"PgBouncer refused to reload: {error}; the agent tries again")
    return None


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of comparing what PgBouncer shows with what it should run."""

    read: bool
    """PgBouncer has read the configuration to its last line, and its limits are in force."""
    over: Mapping[str, int]
    """Databases that hold more server connections than their shares, and how many."""
    message: str = ""
    """Why the configuration is not in force; empty when it is."""
    most: int | None = None
    """The most server connections from now on; None while the limits are not in force.

    A database above its share opens no connection, but it may keep those that it has.
    """

    @property
    def known_over(self) -> Mapping[str, int] | None:
        """`over`; None while the limits are not in force: a database that holds few connections may still open more."""
        return self.over if self.read else None


def verify(candidate: Candidate, observation: ConsoleAnswer) -> Verification:
    """Compare what PgBouncer shows with what it should run. Pure."""
    over = over_limit(candidate, observation)
    if observation.marker != candidate.marker:
        return Verification(
            False,
            over,
            f"PgBouncer runs configuration {observation.marker or '(none)'}, not {candidate.marker}; the agent reloads "
            "it again",
        )
    for name, share in sorted(candidate.shares.items()):
        row = observation.databases.get(name)
        if row is None:
            return Verification(False, over, f"PgBouncer does not know database {name}; the agent reloads it again")
        if row.limit != share:
            message = (
                f"PgBouncer allows database {name} {row.limit} server connections, not {share}; the agent reloads it "
                "again"
            )
            return Verification(False, over, message)
    rows = observation.databases
    return Verification(True, over, most=sum(max(share, rows[name].open) for name, share in candidate.shares.items()))


def over_limit(candidate: Candidate, observation: ConsoleAnswer) -> dict[str, int]:
    """The databases that hold more server connections than their shares, and how many. Pure."""
    shares = sorted(candidate.shares.items())
    rows = observation.databases
    return {name: rows[name].open for name, share in shares if name in rows and rows[name].open > share}
