"""When PostgreSQL is asked about looked-up roles, and what stays when it does not answer."""

import json
from dataclasses import replace

import pytest

from pgbouncer_operator.agent import console, pooled_query
from pgbouncer_operator.agent.looked_up_roles import MOST_ASKED, PAUSE_SECONDS, Md5Roles, Question, ask
from pgbouncer_operator.agent.pooled_query import Answer, DatabaseLogin
from pgbouncer_operator.agent.settings import AgentSettings

LOGIN = DatabaseLogin("shop", "authQuery", "pgbouncer_lookup", "s3cret")
QUESTION = Question(LOGIN, "pgbouncer.lookup", {"shop", "pgbouncer_lookup"}, "here")


def asked(
    monkeypatch: pytest.MonkeyPatch, last: Md5Roles, users: tuple[str, ...], answer: Answer
) -> tuple[Md5Roles, list[list[str]]]:
    """The new answer, and the names of each question."""
    names: list[list[str]] = []

    def query(_dir: str, _port: int, _login: DatabaseLogin, _query: str, *values: str) -> Answer:
        names.append(json.loads(values[0]))
        return answer

    monkeypatch.setattr(console, "users", lambda _: users)
    monkeypatch.setattr(pooled_query, "ask", query)
    return ask(AgentSettings(), QUESTION, last, 4), names


@pytest.mark.parametrize(
    ("subject", "lookups", "now", "expected"),
    [
        ("here", 3, 1000.0, False),
        ("here", 4, 10.0 + PAUSE_SECONDS, True),
        ("here", 0, 10.0 + PAUSE_SECONDS, True),
        ("here", 4, 9.9 + PAUSE_SECONDS, False),
        ("elsewhere", 3, 10.0 + PAUSE_SECONDS, True),
    ],
    ids=["nobody was looked up", "somebody was", "PgBouncer is another one", "not so soon", "another server"],
)
def test_it_is_asked_after_a_look_up_and_not_too_often(subject: str, lookups: int, now: float, expected: bool) -> None:
    assert Md5Roles(("a",), 3, "here", 10.0).due(subject, lookups, now) is expected


def test_only_roles_that_were_looked_up_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    found, names = asked(monkeypatch, Md5Roles(), ("shop", "legacy", "pgbouncer_lookup"), Answer(rows=(("legacy",),)))
    assert (found.names, found.lookups, names) == (("legacy",), 4, [["legacy"]])


def test_without_a_looked_up_role_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    found, names = asked(monkeypatch, Md5Roles(("gone",), 1, "here"), ("shop",), Answer())
    assert (found.names, names) == ((), [])


def test_a_question_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    _, names = asked(monkeypatch, Md5Roles(), tuple(f"r{number}" for number in range(2 * MOST_ASKED)), Answer())
    assert len(names[0]) == MOST_ASKED


def test_while_postgresql_does_not_say_the_last_names_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    last = Md5Roles(("legacy",), 1, "here")
    assert asked(monkeypatch, last, ("legacy",), Answer("no such function"))[0].names == ("legacy",)
    elsewhere = replace(last, subject="elsewhere")
    assert asked(monkeypatch, elsewhere, ("legacy",), Answer("no such function"))[0].names == ()
