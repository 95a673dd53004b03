"""The plain scripts of PgBouncer's container: drain, probe and the protocol they speak."""

import ast
import struct
import sys
from pathlib import Path

import pytest

from pgbouncer_operator.agent import drain, wire

AGENT = Path(wire.__file__).parent


def pool(database: str, **columns: int) -> wire.Row:
    zero = dict.fromkeys(("cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active"), 0)
    return {"database": database} | {key: str(value) for key, value in (zero | columns).items()}


LOGINS = [{"list": "login_clients", "items": "0"}, {"list": "used_clients", "items": "9"}]
CASES = [
    ("console sessions alone", [pool("pgbouncer", cl_active=2)], LOGINS, 0),
    ("idle clients", [pool("shop", cl_active=2)], LOGINS, 2),
    ("waiting clients", [pool("shop", cl_waiting=1), pool("blog", cl_active=1)], LOGINS, 2),
    ("a cancel request on its way", [pool("shop", cl_waiting_cancel_req=1)], LOGINS, 1),
    ("a client that logs in", [], [{"list": "login_clients", "items": "1"}], 1),
]


@pytest.mark.parametrize(("pools", "lists", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_drain_waits_for_everybody_but_the_console(
    pools: list[wire.Row], lists: list[wire.Row], expected: int
) -> None:
    assert drain.counted(pools, lists, []).clients == expected


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (drain.Count(clients=5, logins=10), drain.Count(clients=2, logins=10), 3),
        (drain.Count(clients=5, logins=10), drain.Count(clients=2, logins=14), 7),
        (drain.Count(clients=5, logins=10), drain.Count(clients=6, logins=10), 0),  # one that was logging in
    ],
)
def test_clients_that_came_during_the_drain_are_counted_when_they_go(
    first: drain.Count, last: drain.Count, expected: int
) -> None:
    assert drain.gone(first, last) == expected


@pytest.mark.parametrize("arguments", [["--timeout"], ["--unknown", "1"], ["120"]])
def test_arguments_that_are_not_understood_end_the_drain_before_it_begins(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert drain.main(arguments) == 2
    assert "--endpoint-delay 5" in capsys.readouterr().err


def test_an_error_is_told_in_the_servers_words() -> None:
    payload = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0"
    assert wire.error_text(payload) == "FATAL: password authentication failed"


class Canned:
    """The far end of a connection that has said everything already."""

    def __init__(self, said: bytes) -> None:
        self.said = said

    def recv(self, size: int) -> bytes:
        taken, self.said = self.said[:3], self.said[3:]
        return taken

    def sendall(self, sent: bytes) -> None:
        pass


def message(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(payload) + 4) + payload


def row(*values: bytes | None) -> bytes:
    cells = [struct.pack("!i", -1) if each is None else struct.pack("!i", len(each)) + each for each in values]
    return message(b"D", struct.pack("!h", len(values)) + b"".join(cells))


HEAD = message(b"T", struct.pack("!h", 2) + b"key\0" + bytes(18) + b"value\0" + bytes(18))


def test_rows_are_read_by_column_however_the_bytes_arrive() -> None:
    said = HEAD + row("ü".encode(), b"") + row(b"b", None) + message(b"C", b"SHOW\0") + message(b"Z", b"I")
    session = wire.Session(Canned(said))  # type: ignore[arg-type]
    assert session.query("SHOW CONFIG") == [{"key": "ü", "value": ""}, {"key": "b", "value": ""}]


def test_a_refused_command_is_an_error_and_the_session_goes_on() -> None:
    said = message(b"E", b"SERROR\0Mno\0\0") + message(b"Z", b"I") + HEAD + message(b"Z", b"I")
    session = wire.Session(Canned(said))  # type: ignore[arg-type]
    with pytest.raises(wire.WireError, match="ERROR: no"):
        session.query("RELOAD")
    assert session.query("SHOW CONFIG") == []


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (message(b"E", b"SFATAL\0Mno such user\0\0"), "FATAL: no such user"),
        (message(b"R", struct.pack("!i", 10)), "asks for a password"),
        (b"", "closed the connection"),
    ],
)
def test_a_login_that_fails_says_why(said: bytes, words: str) -> None:
    with pytest.raises(wire.WireError, match=words):
        wire.Session(Canned(said)).login("pgbouncer", "pgbouncer")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["wire", "start", "drain", "probe", "liveness", "supervisor"])
def test_scripts_import_the_standard_library_and_their_sibling_only(name: str) -> None:
    imported = set()
    for node in ast.walk(ast.parse((AGENT / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            imported |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported <= {*sys.stdlib_module_names, "wire"}
