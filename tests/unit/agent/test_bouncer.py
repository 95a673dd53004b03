"""When server connections may be renewed: PgBouncer takes a connection cut while it logs in for a failed login."""

import pytest

from pgbouncer_operator.agent.bouncer import calm

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
    assert calm(pools) is expected


def test_a_user_with_connections_to_another_database_gets_none_here_either() -> None:
    nothing = dict.fromkeys(("sv_active", "sv_used", "sv_tested", "sv_active_cancel", "sv_being_canceled"), "0")
    pools = [
        {"database": "shop", "user": "shop", "cl_waiting": "2", "sv_idle": "0", "sv_login": "0", **nothing},
        {"database": "log", "user": "shop", "cl_waiting": "0", "sv_idle": "1", "sv_login": "0", **nothing},
    ]
    assert calm(pools)
