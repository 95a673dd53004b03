"""PgBouncer's figures: from the rows of its SHOW commands to numbers of server connections and clients.

Pure. Columns are read by name, because they moved between releases. The console's own sessions are left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

CONSOLE = "pgbouncer"


@dataclass(frozen=True, slots=True)
class Pool:
    """One row of SHOW POOLS: a database and the user its server connections log in as.

    open: server connections that PostgreSQL counts. busy: of these, with a client or held by a cancel request.
    waiting: clients in the queue; the oldest has waited `longest_wait` seconds. clients: idle and waiting ones too.
    """

    database: str
    user: str
    open: int
    busy: int
    waiting: int
    clients: int
    longest_wait: float

    @property
    def idle(self) -> int:
        """Open, without a client: also those being tested or still logging in."""
        return self.open - self.busy


@dataclass(frozen=True, slots=True)
class Limits:
    """One row of SHOW DATABASES: what PgBouncer has understood of a database's entry."""

    host: str
    port: int
    dbname: str
    pool_mode: str
    pool_size: int
    max: int
    open: int
    paused: bool
    disabled: bool


@dataclass(frozen=True, slots=True)
class Demand:
    """A time window's mean use. busy: server connections in use. queued: clients waiting. rate: transactions per s."""

    busy: float
    queued: float
    rate: float


def pools(rows: Iterable[Mapping[str, Any]]) -> tuple[Pool, ...]:
    """SHOW POOLS, sorted by database and user. Connections that only carry a cancel request do not count as open."""
    found = [_pool(row) for row in rows if row["database"] != CONSOLE]
    return tuple(sorted(found, key=lambda pool: (pool.database, pool.user)))


def limits(rows: Iterable[Mapping[str, Any]]) -> dict[str, Limits]:
    """SHOW DATABASES by name."""
    return {
        row["name"]: Limits(
            host=row["host"],
            port=row["port"],
            dbname=row["database"],
            pool_mode=row["pool_mode"],
            pool_size=row["pool_size"],
            max=row["max_connections"],
            open=row["current_connections"],
            paused=bool(row["paused"]),
            disabled=bool(row["disabled"]),
        )
        for row in rows
        if row["name"] != CONSOLE
    }


def totals(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """SHOW STATS_TOTALS: database to counter to value; times are in microseconds."""
    return {
        row["database"]: {key: int(value) for key, value in row.items() if key != "database"}
        for row in rows
        if row["database"] != CONSOLE
    }


def demand(before: Mapping[str, int], after: Mapping[str, int], seconds: float) -> Demand:
    """What one database used between two readings of its totals, `seconds` apart.

    PgBouncer's xact_time includes the wait for a server connection, whatever its manual says, so the wait is taken off.
    A wait counts when it ends and a transaction when it ends: a window may see one without the other, hence no number
    goes below 0. Counters that fell belong to a new process or pool and count from 0.
    """
    if seconds <= 0:
        raise ValueError("demand needs a window longer than 0 seconds")
    fell = any(after.get(key, 0) < value for key, value in before.items())
    start: Mapping[str, int] = {} if fell else before

    def grown(key: str) -> float:
        return (after.get(key, 0) - start.get(key, 0)) / seconds

    in_system, queued = grown("xact_time") / 1e6, grown("wait_time") / 1e6
    return Demand(busy=max(0.0, in_system - queued), queued=queued, rate=grown("xact_count"))


def _pool(row: Mapping[str, Any]) -> Pool:
    busy = row["sv_active"] + row["sv_being_canceled"]
    return Pool(
        database=row["database"],
        user=row["user"],
        open=busy + row["sv_idle"] + row["sv_used"] + row["sv_tested"] + row["sv_login"],
        busy=busy,
        waiting=row["cl_waiting"],
        clients=row["cl_active"] + row["cl_waiting"],
        longest_wait=row["maxwait"] + row["maxwait_us"] / 1e6,
    )
