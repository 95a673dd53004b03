"""What the databases of a pod need, and when their shares follow it. Pure; the time is an argument.

A share moves when clients of a database wait while all of its connections are busy, and another database does not need
what it has. Each move is a change of PgBouncer's limits, so moves are rare: a pool in which nobody waits has none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pgbouncer_operator.agent import shares
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.console import ConsoleAnswer, DatabaseRow
from pgbouncer_operator.protocol.grants import GrantsError

WAIT_SECONDS = 1.0  # so long clients wait before a share moves
RECENT_SECONDS = 10.0  # a database keeps what it has used in this time
GROWTH_SECONDS = 5.0  # from one growth beyond the even share to the next
CLAIM_SECONDS = 20.0  # the same after a database had to take its even share back
CALM_SECONDS = 60.0  # so long no database needs more than its even share before all have it again

Division = Callable[[Mapping[str, int]], Mapping[str, int]]
"""From a demand to the shares: see `shares.divided`."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What was seen of the databases, and the demand that their shares are made of now."""

    demand: Mapping[str, int] = field(default_factory=dict)
    """Server connections that each database can use; empty for even shares."""
    used: tuple[tuple[float, Mapping[str, int]], ...] = ()
    """When and how many connections each database needed, in the last RECENT_SECONDS."""
    full: Mapping[str, float] = field(default_factory=dict)
    """Databases that need more than their share, and since when."""
    growth: float = float("-inf")
    """No database grows beyond its even share before this time."""
    calm: float | None = None
    """Since when no database needs more than its even share; None while one does."""


def look(before: Needs, now: float, running: Candidate, cap: int, answer: ConsoleAnswer) -> Needs:
    """What follows from an answer of PgBouncer. now: monotonic seconds. cap: the pod's grant."""
    composition = running.composition
    names = shares.movable(composition.intent) & answer.databases.keys()
    try:
        return following(
            before,
            now,
            {name: answer.databases[name] for name in sorted(names)},
            lambda demand: shares.divided(composition.intent, composition.lingering, cap, demand),
        )
    except GrantsError:
        return before  # the cap is too small for what runs, and the worker says so


def following(before: Needs, now: float, rows: Mapping[str, DatabaseRow], division: Division) -> Needs:
    """What follows from a look at PgBouncer. The shares move when `demand` has changed.

    now: monotonic seconds. rows: the databases whose shares may move, by name.
    A database that has less than its even share and needs more takes it back at once. Growth beyond the even share has
    a pause after the last move, so that two databases do not take a connection from each other for ever.
    """
    even = division({})
    used = {name: _needed(row) for name, row in rows.items()}
    restless = any(row.busy + row.waiting > even[name] for name, row in rows.items())
    needs = replace(
        before,
        used=(*(each for each in before.used if now - each[0] < RECENT_SECONDS), (now, used)),
        full={name: before.full.get(name, now) for name, row in rows.items() if _full(row, even[name])},
        calm=None if restless else now if before.calm is None else before.calm,
    )
    demand = {name: max(each.get(name, 0) for _, each in needs.used) for name in rows}
    present, possible = division(before.demand), division(demand)
    waiting = [name for name, since in needs.full.items() if now - since >= WAIT_SECONDS]
    short = [name for name in waiting if possible[name] > present[name]]
    if any(present[name] < even[name] for name in short):
        return replace(needs, demand=demand, growth=now + CLAIM_SECONDS)
    if short and now >= needs.growth:
        return replace(needs, demand=demand, growth=now + GROWTH_SECONDS)
    if needs.demand and needs.calm is not None and now - needs.calm >= CALM_SECONDS:
        return replace(needs, demand={})
    return needs


def _needed(row: DatabaseRow) -> int:
    """The connections that the database can use now, and one more for the next client of a database in use."""
    used = row.busy + row.waiting
    return used + 1 if used else 0


def _full(row: DatabaseRow, even: int) -> bool:
    """Whether the share is used up. Clients wait then, or the next one will and the even share is larger.

    Clients of a server that is away, or of a pause, wait for something else.
    """
    return row.busy >= row.limit and (row.waiting > 0 or row.limit < even)
