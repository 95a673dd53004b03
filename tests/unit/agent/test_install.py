"""What verification makes of a look at PgBouncer."""

import pytest

from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.console import ConsoleAnswer, DatabaseRow, Figures, figures
from pgbouncer_operator.agent.install import verify
from pgbouncer_operator.pgbouncer.composition import Composition
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent

INTENT = Intent("ns/shop", {}, (DatabaseIntent("blog", "pg"), DatabaseIntent("shop", "pg")), ())
RUNNING = Candidate(Composition(INTENT, {"blog": 2, "shop": 3}, 7, (), "", "probe_1"), seq=7, cap=5)


def look(marker: str = RUNNING.marker, **databases: tuple[int, int]) -> ConsoleAnswer:
    return ConsoleAnswer(
        {name: DatabaseRow(limit, held, paused=False) for name, (limit, held) in databases.items()}, Figures(), marker
    )


CASES = [
    ("all is as installed", look(blog=(2, 2), shop=(3, 0)), True, {}, ""),
    ("connections over a lowered limit", look(blog=(2, 4), shop=(3, 3)), True, {"blog": 4}, ""),
    ("another configuration", look("other", blog=(2, 0), shop=(3, 0)), False, {}, "runs configuration other"),
    ("no configuration of ours", look("", blog=(2, 0), shop=(3, 0)), False, {}, "runs configuration (none)"),
    (
        "a limit that is not in force",
        look(blog=(2, 0), shop=(9, 0)),
        False,
        {},
        "allows database shop 9 server connections, not 3",
    ),
    ("a database that is not known", look(shop=(3, 9)), False, {"shop": 9}, "does not know database blog"),
]


@pytest.mark.parametrize(
    ("seen", "read", "over", "complaint"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_only_what_pgbouncer_shows_counts(
    seen: ConsoleAnswer, read: bool, over: dict[str, int], complaint: str
) -> None:
    verdict = verify(RUNNING, seen)
    assert (verdict.read, verdict.over) == (read, over)
    assert complaint in verdict.message
    assert bool(verdict.message) == (not read)


def test_the_console_itself_counts_neither_as_client_nor_as_connection() -> None:
    columns = ("cl_active", "cl_waiting", "sv_active", "sv_active_cancel", "sv_being_canceled", "sv_idle")
    pools = [
        dict(zip(("database", *columns), ("shop", "3", "2", "1", "1", "0", "4"), strict=True)),
        dict(zip(("database", *columns), ("pgbouncer", "7", "0", "0", "0", "0", "0"), strict=True)),
    ]
    assert figures({"shop": DatabaseRow(9, 6, paused=False)}, pools) == Figures(open=6, busy=2, waiting=2, clients=5)
