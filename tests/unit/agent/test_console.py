"""When server connections may be renewed: PgBouncer takes a connection cut while it logs in for a failed login."""

import pytest

from pgbouncer_operator.agent.console import lookups_of, no_login_pending, totals_of
from pgbouncer_operator.protocol.state import Totals

CASES = [
    ("at rest", 3, 0, 0, True),
    ("somebody logs in", 3, 1, 0, False),
    ("clients wait, and their user has connections, so the bound keeps a login from beginning", 3, 0, 2, True),
    ("clients wait, and their user has none, so a login is about to begin", 0, 0, 2, False),
]


@pytest.mark.parametrize(
    ("idle", "login", "waiting", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_connections_are_renewed_only_while_none_is_made(idle: int, login: int, waiting: int, expected: bool) -> None:
    columns = ("sv_active", "sv_used", "sv_tested", "sv_active_cancel", "sv_being_canceled")
    servers = dict.fromkeys(columns, "0") | {"sv_idle": str(idle), "sv_login": str(login)}
    pools = [
        {"database": "shop", "user": "shop", "cl_waiting": str(waiting), **servers},
        {"database": "pgbouncer", "user": "pgbouncer", "sv_login": "0", "cl_waiting": "1"},
    ]
    assert no_login_pending(pools) is expected


def test_a_user_with_connections_to_another_database_gets_none_here_either() -> None:
    nothing = dict.fromkeys(("sv_active", "sv_used", "sv_tested", "sv_active_cancel", "sv_being_canceled"), "0")
    pools = [
        {"database": "shop", "user": "shop", "cl_waiting": "2", "sv_idle": "0", "sv_login": "0", **nothing},
        {"database": "log", "user": "shop", "cl_waiting": "0", "sv_idle": "1", "sv_login": "0", **nothing},
    ]
    assert no_login_pending(pools)


def test_look_ups_are_counted_by_the_entry_that_only_they_use() -> None:
    rows = [
        {"database": "shop", "total_server_assignment_count": "7"},
        {"database": "pgbouncer-lookup", "total_server_assignment_count": "3"},
    ]
    assert lookups_of(rows) == 3


def test_the_totals_of_all_databases_are_summed_without_the_consoles_own() -> None:
    rows = [
        {"database": "pgbouncer", "total_xact_count": "7", "total_xact_time": "7", "total_wait_time": "7"},
        {"database": "shop", "total_xact_count": "3", "total_xact_time": "2500", "total_wait_time": "500"},
        {"database": "log", "total_xact_count": "1", "total_xact_time": "10", "total_wait_time": "0"},
    ]
    assert totals_of(rows) == Totals(4, 2510, 500)
