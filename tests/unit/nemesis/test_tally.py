from typing import Any

from tests.nemesis import tally
from tests.nemesis.promises import Breach, Promise
from tests.nemesis.tally import Tally


def account(failed: int = 0, refused: int = 0, **more: Any) -> dict[str, Any]:
    return {"failed": failed, "refused": refused, "committed": 9, "stages": {}, "errors": {}, **more}


def test_only_what_is_new_is_a_breach() -> None:
    clients = Tally("one")
    assert clients.take(account(), 1.0) == []
    assert clients.take(account(2, errors={"begin: closed": 2}), 2.0) == [
        Breach(Promise.FAILED, 2.0, 2, "one", "2 x begin: closed")
    ]
    assert clients.take(account(2, errors={"begin: closed": 2}), 3.0) == []
    assert clients.take(account(3, 4, errors={"begin: closed": 3, "connect: refused": 4}), 4.0) == [
        Breach(Promise.FAILED, 4.0, 1, "one", "4 x connect: refused; 1 x begin: closed"),
        Breach(Promise.REFUSED, 4.0, 4, "one", "4 x connect: refused; 1 x begin: closed"),
    ]
    assert clients.committed == 9


def test_an_error_at_the_end_of_a_wait_is_dated_when_the_wait_began() -> None:
    errors = {"connect: connection timeout expired": 3, "connect: refused": 1, "begin: query_wait_timeout": 2}
    assert Tally("one").take(account(2, 4, errors=errors), 100.0) == [
        Breach(Promise.REFUSED, 40.0, 3, "one", "3 x connect: connection timeout expired, after 60 s"),
        Breach(Promise.FAILED, 70.0, 2, "one", "2 x begin: query_wait_timeout, after 30 s"),
        Breach(Promise.REFUSED, 100.0, 1, "one", "1 x connect: refused"),
    ]


def test_a_client_that_never_closes_may_find_its_connection_closed_between_two_transactions() -> None:
    clients = Tally("one", immortal=True)
    assert clients.take(account(3, stages={"begin": 3}, errors={"begin: closed": 3}), 1.0) == []
    assert clients.take(account(4, stages={"begin": 3, "inside": 1}, errors={"inside: closed": 1}), 2.0) == [
        Breach(Promise.FAILED, 2.0, 1, "one", "1 x inside: closed")
    ]


def test_such_a_client_may_not_be_refused() -> None:
    assert Tally("one", immortal=True).take(account(refused=1, stages={"connect": 1}), 1.0) == [
        Breach(Promise.REFUSED, 1.0, 1, "one", "")
    ]


def test_the_worst_count_above_the_limit_is_the_breach() -> None:
    assert tally.above([(1.0, 30), (2.0, 29)], 30) is None
    assert tally.above([(1.0, 31), (2.0, 33), (3.0, 32)], 30) == Breach(
        Promise.BUDGET, 2.0, 3, "PostgreSQL", "33 of 30 in 3 counts"
    )


def test_logins_that_the_roles_limit_refused_are_counted_in_the_servers_log() -> None:
    full = 'FATAL:  too many connections for role "shop"'
    assert tally.refused_by_server(["LOG:  checkpoint starting"], 1.0) is None
    assert tally.refused_by_server([full, "LOG:  checkpoint starting", full], 1.0) == Breach(
        Promise.FENCE, 1.0, 2, "PostgreSQL", full
    )
