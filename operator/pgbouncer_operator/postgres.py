"""The operator's own connection to a PostgreSQL server, which reads the server's limits and nothing else.

Each read opens one connection and closes it. No exception carries a value of the Secret: PostgreSQL's error messages,
which name the login, are passed on without them.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pgbouncer_operator import naming
from pgbouncer_operator.resources.login import Login
from pgbouncer_operator.sizing.limits import ServerLimits

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 3
READ_SECONDS = 12.0  # for the whole read: connect_timeout applies to each address that the host resolves to
MESSAGE_MAX = 300  # characters of a message of PostgreSQL
# Set at the start of the session: with the server's own search_path, a function of somebody else could replace one of
# PostgreSQL's in the first statement. https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATTERNS
OPTIONS = f"-c search_path=pg_catalog,pg_temp -c statement_timeout={STATEMENT_SECONDS}s"
QUESTION = """
select pg_catalog.current_setting('max_connections')::pg_catalog.int4,
       pg_catalog.current_setting('superuser_reserved_connections')::pg_catalog.int4,
       coalesce(pg_catalog.current_setting('reserved_connections', true), '0')::pg_catalog.int4,
       pg_catalog.to_char(pg_catalog.pg_postmaster_start_time() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
       exists (select from pg_catalog.pg_roles where rolsuper and rolname in (session_user, current_user))
"""


class Unanswered(Exception):
    """The limits could not be read. The message says why and holds no value of the Secret."""


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
    """Read the server's limits. Raises Unanswered or Superuser.

    Takes at most READ_SECONDS, and 10 s more if the server freezes after the login: psycopg then sends a cancel request
    for up to 5 s and waits up to 5 s for its effect. Cancelling the task has the same effect; cancelling it a second
    time ends the wait at once.
    """
    import psycopg  # imported on use: it takes 8 MiB, and an operator without PostgresServers never needs it

    try:
        async with asyncio.timeout(READ_SECONDS):
            maximum, superuser_reserved, reserved, started, superuser = await _ask(server, login)
    except TimeoutError:
        raise Unanswered(f"no answer within {READ_SECONDS:g} s") from None
    except psycopg.OperationalError as error:
        raise Unanswered(_message(str(error), login)) from None
    except (psycopg.Error, OSError) as error:
        # Only an error with an SQLSTATE is PostgreSQL's. One of psycopg itself may repeat the arguments of the call.
        sqlstate = error.sqlstate if isinstance(error, psycopg.Error) else None
        raise Unanswered(_message(str(error), login) if sqlstate else type(error).__name__) from None
    if superuser:
        raise Superuser
    return ServerLimits(maximum, superuser_reserved + reserved, started)


async def _ask(server: ServerAddress, login: Login) -> tuple[int, int, int, str, bool]:
    import psycopg

    with _certificates(server) as file:
        connection = await psycopg.AsyncConnection.connect(
            host=server.host,
            port=server.port,
            dbname=server.database,
            user=login.username,
            password=login.password,
            sslmode=server.sslmode,
            sslrootcert=file,
            sslcert="",
            gssencmode="disable",
            target_session_attrs="any",
            connect_timeout=CONNECT_SECONDS,
            application_name=naming.FIELD_MANAGER,
            options=OPTIONS,
            autocommit=True,
        )
        try:
            row = await (await connection.execute(QUESTION)).fetchone()
        finally:
            await connection.close()
    if row is None:
        raise Unanswered("the server returned no row")
    return row


@contextlib.contextmanager
def _certificates(server: ServerAddress) -> Iterator[str]:
    """Path of a file for libpq's sslrootcert; it is in memory, as the operator's root file system is read-only."""
    if not server.sslmode.startswith("verify"):
        # With sslmode=require libpq verifies if it finds a file, and by default it searches the home directory.
        # https://www.postgresql.org/docs/current/libpq-ssl.html#LIBQ-SSL-CERTIFICATES
        yield "/nonexistent"
        return
    if not server.authority:
        yield naming.SYSTEM_CA_FILE
        return
    number = os.memfd_create("ca")
    try:
        os.write(number, server.authority.encode())
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)


def _message(text: str, login: Login) -> str:
    """The first line of an error, without libpq's preface, the severity, the login and the password."""
    line = text.strip().split("\n")[0]
    line = re.sub(r"^(connection failed: )?(connection to server at .*? failed: )?((FATAL|ERROR):\s+)?", "", line)
    for value in (login.password, login.username):
        if value:
            line = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", line)
    return line[:MESSAGE_MAX]
