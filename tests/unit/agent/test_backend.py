"""The test of the backend where it goes another way than PgBouncer: a host with several addresses."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pgbouncer_operator.agent import backend
from pgbouncer_operator.agent.backend import BackendAddress, LoginAnswer
from pgbouncer_operator.agent.pooled_query import NOT_SERVED, DatabaseLogin
from pgbouncer_operator.protocol.reasons import BackendReason

DEAD, ALIVE = "127.0.0.3", "127.0.0.1"


@pytest.fixture
def port() -> Iterator[int]:
    """A port where a server listens on ALIVE only."""
    with socket.create_server((ALIVE, 0)) as server:
        yield server.getsockname()[1]


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """The name dual.example.test has these addresses."""
    real = socket.getaddrinfo

    def answer(host: str, port: int, *rest: Any, **options: Any) -> Any:
        hosts = addresses if host == "dual.example.test" else (host,)
        return [found for each in hosts for found in real(each, port, *rest, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def outcome(monkeypatch: pytest.MonkeyPatch, port: int, refused: str) -> backend.TestResult:
    """A test whose login through PgBouncer ends in `refused`; empty when it works."""
    monkeypatch.setattr(backend, "login", lambda *_: LoginAnswer(refused, True))
    server = BackendAddress("dual.example.test", port, "disable", None)
    plan = backend.TestPlan((server,), (DatabaseLogin("shop", "shop", "shop", "s3cret"),), "/nowhere", 6432)
    return backend.run(plan, serves=lambda _: False)


@pytest.mark.parametrize("refused", [NOT_SERVED, "server login has been failing, cached error: connect failed"])
def test_an_address_that_accepts_nothing_is_named_where_pgbouncer_gets_no_connection(
    monkeypatch: pytest.MonkeyPatch, port: int, refused: str
) -> None:
    resolving(monkeypatch, DEAD, ALIVE)
    found = outcome(monkeypatch, port, refused).backend
    assert found.reason is BackendReason.UNREACHABLE
    expected = f"dual.example.test has 2 addresses, and {DEAD}, port {port}, accepts no connection: Connection refused."
    assert found.message.startswith(expected)


def test_a_dead_address_is_no_fault_where_logins_work_nor_where_postgresql_itself_refuses(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    resolving(monkeypatch, DEAD, ALIVE)
    assert outcome(monkeypatch, port, "").backend.ok
    found = outcome(monkeypatch, port, 'password authentication failed for user "shop"').backend
    assert found.reason is BackendReason.REFUSED_LOGIN


def test_a_host_whose_addresses_all_accept_is_told_as_before(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    resolving(monkeypatch, ALIVE)
    found = outcome(monkeypatch, port, NOT_SERVED).backend
    assert found.message == f"database shop, user shop: {NOT_SERVED}"
