"""The operator's question to a PostgreSQL server: its limits and nothing else.

Whoever may write a PostgresServer decides which host is asked, so the host may be hostile. A process of its own asks,
with bounds on memory, time and the length of its answer; see limits_login. No exception carries a value of the Secret
or a word of the server.
"""

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pgbouncer_operator import naming
from pgbouncer_operator.limits_login import PROCESS_SECONDS, Failure
from pgbouncer_operator.resources.login import Login
from pgbouncer_operator.sizing.limits import ServerLimits

READ_SECONDS = PROCESS_SECONDS + 3.0  # until the process is killed, its start included
ANSWER_MAX = 1024  # bytes
CONNECTIONS_MAX = 262_143  # PostgreSQL's own: https://www.postgresql.org/docs/current/runtime-config-connection.html
_PROGRAM = ("-P", "-S", "-m", "pgbouncer_operator.limits_login")  # -P: imports nothing from the working directory
_STARTED = re.compile(r"[0-9TZ:.-]{1,40}")
_SENTENCES = {
    Failure.REFUSED_LOGIN: "PostgreSQL refuses the login's name or password; correct the Secret",
    Failure.NO_ENTRY: "pg_hba.conf of PostgreSQL does not allow this login by password; add an entry for it",
    Failure.CONNECT: "the role may not connect to the database; grant it CONNECT, or correct monitoring.database",
    Failure.DATABASE: "its database does not exist or takes no connections; correct monitoring.database",
    Failure.FULL: "it has no connection free for this login",
    Failure.WITHOUT_TLS: "it does not support TLS; set ssl = on in PostgreSQL, or tls.mode to disable",
    Failure.CERTIFICATE: "its certificate is not valid for this host, or not signed by the CA; correct tls.ca",
    Failure.STARTING: "PostgreSQL is starting or stopping",
    Failure.QUERY: "PostgreSQL refuses the query; give the role pg_monitor",
    Failure.VALUE: "the login, the database or the CA has a value that cannot be sent",
    Failure.UNREACHABLE: "there was no login; correct host and port, and see that PostgreSQL answers there",
}


class Unanswered(Exception):
    """The limits could not be read. The message says why and holds no value of the Secret."""


class NotAsked(Exception):
    """The operator has no process to ask with. The message says why, and it is no fault of the server."""


class Superuser(Exception):
    """The login is a superuser, or its session runs as one. The operator refuses to use such a login."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server to connect to, and how its certificate is verified."""

    host: str
    port: int
    database: str
    sslmode: str
    """libpq's sslmode."""
    authority: str = ""
    """CA certificates in PEM, read if sslmode is verify-ca or verify-full; empty for the public CAs."""


async def limits(server: ServerAddress, login: Login) -> ServerLimits:
    """Read the server's limits. Raises Unanswered, NotAsked or Superuser.

    Takes at most READ_SECONDS. Cancelling ends it at once.
    """
    question = asdict(server) | {
        "username": login.username,
        "password": login.password,
        "application": naming.FIELD_MANAGER,
        "system": naming.SYSTEM_CA_FILE,
    }
    try:
        async with asyncio.timeout(READ_SECONDS):
            answer = await _process(json.dumps(question).encode())
    except (TimeoutError, OSError):
        raise Unanswered(_SENTENCES[Failure.UNREACHABLE]) from None
    return _read(answer)


async def _process(question: bytes) -> bytes:
    """The first bytes that the process writes. It has ended when this returns. Raises NotAsked or OSError."""
    # A minimal environment: libpq takes what PG* variables say where the call says nothing.
    environment = {name: os.environ[name] for name in ("LANG", "SSL_CERT_FILE") if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(_import_path(sys.path, os.getcwd()))
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *_PROGRAM, stdin=pipe, stdout=pipe, stderr=null, env=environment
        )
    except OSError as error:  # no memory, process or file is left
        raise NotAsked(os.strerror(error.errno) if error.errno else type(error).__name__) from None
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with contextlib.suppress(ConnectionError):  # it has ended before it read the question
            process.stdin.write(question)
            await process.stdin.drain()
        process.stdin.close()
        return await _until_end(process.stdout)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _import_path(present: Sequence[str], working: str) -> list[str]:
    """What the process imports from: the package's own folder, and `present` without the working directory.

    `python -m` puts the working directory into sys.path, and whoever may write there could replace a module.
    """
    package = str(Path(__file__).resolve().parents[1])
    others = (each for each in present if os.path.isabs(each) and os.path.realpath(each) != os.path.realpath(working))
    return list(dict.fromkeys([package, *others]))


async def _until_end(stream: asyncio.StreamReader) -> bytes:
    answer = b""
    while len(answer) <= ANSWER_MAX and (part := await stream.read(ANSWER_MAX)):
        answer += part
    return answer


def _read(answer: bytes) -> ServerLimits:
    try:
        document = json.loads(answer) if len(answer) <= ANSWER_MAX else {}
        if "row" not in document:
            raise Unanswered(_SENTENCES[Failure(document["failure"])]) from None
        maximum, superuser_reserved, reserved, started, superuser = document["row"]
    except (ValueError, KeyError, TypeError, RecursionError):  # nothing at all when a limit ended the process
        raise Unanswered(_SENTENCES[Failure.UNREACHABLE]) from None
    if superuser is not False:
        raise Superuser
    figures = (maximum, superuser_reserved, reserved)
    sound = all(type(each) is int and 0 <= each <= CONNECTIONS_MAX for each in figures)
    if not sound or not isinstance(started, str) or not _STARTED.fullmatch(started):
        raise Unanswered(_SENTENCES[Failure.UNREACHABLE]) from None
    return ServerLimits(maximum, superuser_reserved + reserved, started)
