"""When server connections may be renewed: PgBouncer takes a connection cut while it logs in for a failed login."""

import pytest

from pgbouncer_operator.agent.bouncer import calm

CASES = [
    ("at rest", 3, 0, 0, True),
    ("somebody logs in", 3, 1, 0, False),
    ("clients wait and there is room, so a login is about to begin", 3, 0, 2, False),
    ("clients wait for a pool that is full", 5, 0, 2, True),
    ("a pool beyond a lowered limit grows no more", 7, 0, 2, True),
]


@pytest.mark.parametrize(
    ("opened", "login", "waiting", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_connections_are_renewed_only_while_none_is_made(opened: int, login: int, waiting: int, expected: bool) -> None:
    databases = [{"name": "shop", "current_connections": str(opened), "max_connections": "5"}]
    pools = [
        {"database": "shop", "sv_login": str(login), "cl_waiting": str(waiting)},
        {"database": "pgbouncer", "sv_login": "0", "cl_waiting": "1"},
    ]
    assert calm(databases, pools) is expected
