"""When the backend is tested, and what is made of the answer."""

import pytest

from pgbouncer_operator.agent.backend import covering_logins, reason
from pgbouncer_operator.agent.backend_schedule import LastTest, after, due
from pgbouncer_operator.agent.console import Figures
from pgbouncer_operator.agent.pooled_query import NOT_SERVED, DatabaseLogin, server_message
from pgbouncer_operator.protocol.reasons import BackendReason
from pgbouncer_operator.protocol.state import BackendTest

OK, REFUSED = BackendTest(BackendReason.OK), BackendTest(BackendReason.REFUSED_LOGIN, "no")
AWAY = BackendTest(BackendReason.UNREACHABLE, "gone")
NEVER = float("-inf")
REST, STARVED, BUSY = Figures(), Figures(waiting=3), Figures(open=5, busy=5, waiting=3)

CASES = [
    ("never tested", LastTest(), "a", REST, 0.0, True),
    ("another configuration", LastTest("a", OK, 0.0), "b", REST, 0.1, True),
    ("at rest a server that works is left alone", LastTest("a", OK, 0.0), "a", REST, 1e6, False),
    ("a pool at work may have lost its writer", LastTest("a", OK, 0.0), "a", BUSY, 10.0, True),
    ("but that is asked now and then only", LastTest("a", OK, 0.0), "a", BUSY, 9.9, False),
    ("clients wait and nothing is open", LastTest("a", OK, 0.0), "a", STARVED, 1.0, True),
    ("a pool in use has lost all it had", LastTest("a", OK, 0.0), "a", REST, 10.0, True, 9.0),
    ("but that is asked now and then only too", LastTest("a", OK, 0.0), "a", REST, 9.9, False, 9.0),
    ("it was not used since the last test", LastTest("a", OK, 5.0), "a", REST, 20.0, False, 4.0),
    ("it was not used lately, and so closed them as idle", LastTest("a", OK, 0.0), "a", REST, 600.0, False, 9.0),
    ("what failed is tested again", LastTest("a", REFUSED, 0.0, pause=4.0), "a", REST, 4.0, True),
    ("but not before its pause", LastTest("a", REFUSED, 0.0, pause=4.0), "a", REST, 3.9, False),
]


@pytest.mark.parametrize("case", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_backend_is_tested_after_changes_and_while_something_is_wrong(
    case: tuple[LastTest, str, Figures, float, bool, float],
) -> None:
    last, subject, figures, now, expected, *used = case
    assert due(last, subject, figures, now, *(used or (NEVER,))) is expected


def test_pauses_grow_to_ten_seconds_while_the_same_thing_stays_wrong() -> None:
    last, pauses = LastTest(), []
    for number in range(6):
        last = after(last, "a", REFUSED, float(number))
        pauses.append(last.pause)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert after(last, "a", AWAY, 9.0).pause == 2.0  # its return is to be told at once
    assert after(last, "a", OK, 9.0).pause == 1.0
    assert after(last, "b", REFUSED, 9.0).pause == 1.0


def test_failed_tests_are_counted_by_reason_whatever_they_tested() -> None:
    last = LastTest()
    for subject, result in (("a", REFUSED), ("a", OK), ("a", AWAY), ("b", REFUSED), ("b", REFUSED)):
        last = after(last, subject, result, 0.0)
    assert last.failures == {BackendReason.REFUSED_LOGIN: 3, BackendReason.UNREACHABLE: 1}


def user(handle: str) -> tuple[str, str, str]:
    return (handle, f"login-{handle}", "s3cret")


PAIRS = [
    ("one of each", ["shop"], ["a"], [("shop", "a")]),
    ("more databases than users", ["shop", "blog", "log"], ["a", "b"], [("shop", "a"), ("blog", "b"), ("log", "a")]),
    ("more users than databases", ["shop"], ["a", "b"], [("shop", "a"), ("shop", "b")]),
    ("nobody to log in as", ["shop"], [], []),
]


@pytest.mark.parametrize(
    ("databases", "users", "expected"), [case[1:] for case in PAIRS], ids=[case[0] for case in PAIRS]
)
def test_every_database_and_every_user_is_tried_once(
    databases: list[str], users: list[str], expected: list[tuple[str, str]]
) -> None:
    found = covering_logins(databases, [user(each) for each in users])
    assert [(each.database, each.handle) for each in found] == expected
    assert not [each for each in found if "s3cret" in repr(each)]
    assert all(isinstance(each, DatabaseLogin) for each in found)


REASONS = [
    ('database "shoop" does not exist', BackendReason.DATABASE_MISSING),
    ("sorry, too many clients already", BackendReason.FULL),
    ('too many connections for role "shop"', BackendReason.FULL),
    ("remaining connection slots are reserved for roles with the SUPERUSER attribute", BackendReason.FULL),
    ('password authentication failed for user "shop"', BackendReason.REFUSED_LOGIN),
    (NOT_SERVED, BackendReason.UNREACHABLE),
]


@pytest.mark.parametrize(("words", "expected"), REASONS)
def test_postgresqls_words_become_a_reason_that_has_a_remedy(words: str, expected: BackendReason) -> None:
    assert reason(words) is expected


SOCKET = 'connection to server on socket "/run/pgbouncer/.s.PGSQL.6432" failed: FATAL:  '
SAID = [
    (f'connection failed: {SOCKET}password authentication failed for "a"', 'password authentication failed for "a"'),
    (f'{SOCKET}server login failed: FATAL database "x" does not exist', 'database "x" does not exist'),
    (
        f"{SOCKET}server login has been failing, cached error: too many clients already (server_login_retry)\nmore",
        "too many clients already",
    ),
    ("ERROR:  query_wait_timeout", "query_wait_timeout"),
    ("", ""),
]


@pytest.mark.parametrize(("message", "words"), SAID)
def test_postgresqls_own_words_are_told(message: str, words: str) -> None:
    assert server_message(message) == words
