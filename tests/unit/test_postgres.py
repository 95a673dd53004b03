"""The question to a server that nobody trusts: what a hostile one takes of memory, and what the status says of it."""

import asyncio
import contextlib
import errno
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.process.servers import free_port

from pgbouncer_operator import limits_login, postgres
from pgbouncer_operator.limits_login import Failure
from pgbouncer_operator.postgres import ServerAddress, Unanswered
from pgbouncer_operator.resources.login import Login

LOGIN = Login("watcher", "xyzzy-secret")
MIB = 1 << 20

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def hostile(serve: Serve) -> AsyncIterator[ServerAddress]:
    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve_and_close, "127.0.0.1", 0)
    async with server:
        yield ServerAddress("127.0.0.1", server.sockets[0].getsockname()[1], "postgres", "disable")


async def refusal(address: ServerAddress) -> str:
    with pytest.raises(Unanswered) as caught:
        await postgres.limits(address, LOGIN)
    return str(caught.value)


async def logged_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the startup packet and the query that follows."""
    await reader.readexactly(struct.unpack("!i", await reader.readexactly(4))[0] - 4)
    writer.write(b"R" + struct.pack("!ii", 8, 0) + b"Z" + struct.pack("!i", 5) + b"I")
    await reader.read(1)


def columns(count: int) -> bytes:
    each = b"c\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0)
    body = struct.pack("!h", count) + each * count
    return b"T" + struct.pack("!i", len(body) + 4) + body


async def test_a_row_without_an_end_takes_little_memory_and_none_of_the_operators() -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await logged_in(reader, writer)
        writer.write(columns(5) + b"D" + struct.pack("!ihi", 1024 * MIB, 5, 1023 * MIB))
        while sent < 128 * MIB:
            writer.write(bytes(MIB))
            await writer.drain()
            sent += MIB

    async with hostile(endless) as address:
        assert "there was no login" in await refusal(address)
    assert sent < 48 * MIB


async def test_a_question_that_is_cancelled_leaves_no_process_and_no_secret_in_its_arguments() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await logged_in(reader, writer)
        asked.set()
        while await reader.read(4096):
            pass
        left.set()

    async with hostile(silent) as address, asyncio.timeout(30):
        task = asyncio.create_task(postgres.limits(address, LOGIN))
        await asked.wait()
        children = [process for process in Path("/proc").glob("[0-9]*") if parent(process) == os.getpid()]
        texts = [(process / name).read_bytes() for process in children for name in ("cmdline", "environ")]
        assert any(b"limits_login" in text for text in texts)
        assert not any(LOGIN.password.encode() in text or LOGIN.username.encode() in text for text in texts)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await left.wait()


def parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return 0


async def test_the_status_does_not_tell_what_is_behind_a_host_and_a_port() -> None:
    async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()

    async def words(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        text = b"SFATAL\0CXX000\0Minternal host 10.0.0.7 \x1b[31m says hello\0\0"
        writer.write(b"E" + struct.pack("!i", len(text) + 4) + text)
        await writer.drain()

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)

    answers = {await refusal(ServerAddress("127.0.0.1", free_port(), "postgres", "disable"))}
    answers.add(await refusal(ServerAddress("no-such-host.invalid", 5432, "postgres", "disable")))
    for serve in (banner, words, nothing):
        async with hostile(serve) as address:
            answers.add(await refusal(address))
    assert answers == {"there was no login; correct host and port, and see that PostgreSQL answers there"}


@pytest.mark.parametrize(
    ("code", "words", "told"),
    [
        ("28P01", "Passwort-Authentifizierung für Benutzer »watcher« fehlgeschlagen", "refuses the login's name"),
        ("28000", "LDAP authentication failed for user", "refuses the login's name"),
        ("28000", "PAM-Authentifizierung für Benutzer »watcher« fehlgeschlagen", "refuses the login's name"),
        ("28000", "role is not permitted to log in", "refuses the login's name"),
        ("28000", "kein pg_hba.conf-Eintrag für Host »10.0.0.1«", "pg_hba.conf of PostgreSQL does not allow"),
        ("42501", "permission denied for database", "grant it CONNECT"),
        ("3D000", "Datenbank »nowhere« existiert nicht", "its database does not exist"),
        ("55000", "database is not currently accepting connections", "takes no connections"),
        ("53300", "leider sind bereits zu viele Clients verbunden", "no connection free"),
        ("57P03", "das Datenbanksystem startet", "starting or stopping"),
    ],
)
async def test_the_sqlstate_of_a_login_that_fails_names_it_in_every_language(code: str, words: str, told: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(struct.unpack("!i", await reader.readexactly(4))[0] - 4)
        fields = {"S": "FATAL", "V": "FATAL", "C": code, "M": words, "F": "auth.c", "L": "1", "R": "auth_failed"}
        text = "".join(f"{key}{value}\0" for key, value in fields.items()).encode() + b"\0"
        writer.write(b"E" + struct.pack("!i", len(text) + 4) + text)
        await writer.drain()

    async with hostile(refuse) as address:
        assert told in await refusal(address)


async def test_messages_without_an_end_before_the_login_take_no_memory_either() -> None:
    sent = 0

    async def notices(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readexactly(struct.unpack("!i", await reader.readexactly(4))[0] - 4)
        text = b"SNOTICE\0VNOTICE\0C00000\0M" + b"x" * 20_000 + b"\0\0"
        many = (b"N" + struct.pack("!i", len(text) + 4) + text) * 50
        writer.write(b"R" + struct.pack("!ii", 8, 0))
        while sent < 512 * MIB:
            writer.write(many)
            await writer.drain()
            sent += len(many)

    async with hostile(notices) as address:
        assert "there was no login" in await refusal(address)


async def test_a_process_that_cannot_be_started_is_no_fault_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_memory(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", no_memory)
    with pytest.raises(postgres.NotAsked, match="Cannot allocate memory"):
        await postgres.limits(ServerAddress("127.0.0.1", 1, "postgres", "disable"), LOGIN)


def test_the_process_imports_nothing_from_the_working_directory(tmp_path: Path) -> None:
    found = postgres._import_path(["", ".", str(tmp_path), f"{tmp_path}/../{tmp_path.name}", "/lib"], str(tmp_path))
    assert found == [str(Path(postgres.__file__).parents[1]), "/lib"]


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("server does not support SSL, but SSL was required", Failure.WITHOUT_TLS),
        ("SSL error: certificate verify failed", Failure.CERTIFICATE),
        ("GSSAPI continuation error: No Kerberos credentials available", Failure.NO_ENTRY),
        (
            "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
            Failure.UNREACHABLE,
        ),
        ("x" * limits_login.TEXT_MAX + "SSL error: certificate verify failed", Failure.UNREACHABLE),
    ],
)
def test_what_libpq_says_by_itself_has_no_sqlstate(text: str, failure: Failure) -> None:
    assert limits_login.failure("", text) is failure


def test_every_failure_has_a_sentence() -> None:
    assert set(postgres._SENTENCES) == set(Failure)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b'{"row": [1]}',
        b'{"row": [1e999, 3, 0, "2026-01-01T00:00:00.000Z", false]}',
        b'{"row": [100000000000, 3, 0, "2026-01-01T00:00:00.000Z", false]}',
        b'{"row": [100, -3, 0, "2026-01-01T00:00:00.000Z", false]}',
        b'{"row": [100, 3, 0, "words of the server", false]}',
        b'{"row": [100, true, 0, "2026-01-01T00:00:00.000Z", false]}',
        b'{"failure": "words of the server"}',
        b" " * (postgres.ANSWER_MAX + 1),
        b"[" * postgres.ANSWER_MAX,
    ],
)
def test_an_answer_out_of_bounds_is_none(answer: bytes) -> None:
    with pytest.raises(Unanswered, match="there was no login"):
        postgres._read(answer)
