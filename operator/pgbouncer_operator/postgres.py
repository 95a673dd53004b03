"""The operator's own login to a PostgreSQL server, which asks for its limits and nothing else. Decides nothing.

One connection, for a moment. The Secret's values are in no text: PostgreSQL's words are told without them.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pgbouncer_operator import naming
from pgbouncer_operator.sizing.limits import ServerLimits

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 3
LONGEST = 12.0  # seconds until it is given up, whatever the name resolves to
# The search_path is ours before the first statement, so that nobody's function stands in for PostgreSQL's.
OPTIONS = f"-c search_path=pg_catalog,pg_temp -c statement_timeout={STATEMENT_SECONDS}s"
QUESTION = """
select pg_catalog.current_setting('max_connections')::pg_catalog.int4,
       pg_catalog.current_setting('superuser_reserved_connections')::pg_catalog.int4,
       coalesce(pg_catalog.current_setting('reserved_connections', true), '0')::pg_catalog.int4,
       pg_catalog.to_char(pg_catalog.pg_postmaster_start_time() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
       exists (select from pg_catalog.pg_roles where rolsuper and rolname in (session_user, current_user))
"""


class Unanswered(Exception):
    """The server did not tell its limits; the message says why, without the Secret's values."""


class Superuser(Exception):
    """The login is a superuser, or becomes one."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where to log in, and how it is verified. sslmode: libpq's. authority: PEM, "" for the public CAs."""

    host: str
    port: int
    database: str
    sslmode: str
    authority: str = ""


@dataclass(frozen=True, slots=True)
class ServerLogin:
    """Whom to log in as."""

    username: str = field(repr=False)
    password: str = field(repr=False)


async def limits(server: ServerAddress, login: ServerLogin) -> ServerLimits:
    """The server's limits. Raises Unanswered and Superuser; takes 12 s at most, and 22 s of a server that freezes.

    psycopg then asks the server to cancel, for 5 s, and waits for its word as long. So it does when the task is
    cancelled; a second cancellation ends that at once.
    """
    import psycopg  # 8 MiB, of an operator that may never be asked to log in

    try:
        async with asyncio.timeout(LONGEST):
            maximum, superusers, reserved, started, superuser = await _ask(server, login)
    except TimeoutError:
        raise Unanswered(f"no answer within {LONGEST:g} s") from None
    except psycopg.OperationalError as error:
        raise Unanswered(_words(str(error), login)) from None
    except (psycopg.Error, OSError) as error:  # one of its own may repeat what it was given
        said = error.sqlstate if isinstance(error, psycopg.Error) else None
        raise Unanswered(_words(str(error), login) if said else type(error).__name__) from None
    if superuser:
        raise Superuser
    return ServerLimits(maximum, superusers + reserved, started)


async def _ask(server: ServerAddress, login: ServerLogin) -> tuple[int, int, int, str, bool]:
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
        raise Unanswered("the server answered nothing")
    return row


@contextlib.contextmanager
def _certificates(server: ServerAddress) -> Iterator[str]:
    """A file for libpq, which takes certificates in no other way; in memory, as the operator may write nowhere."""
    if not server.sslmode.startswith("verify"):
        yield "/nonexistent"  # libpq verifies as soon as there is a file, also one in the home directory
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


def _words(text: str, login: ServerLogin) -> str:
    """The server's first sentence, without preface, severity, and what the Secret holds."""
    line = text.strip().split("\n")[0]
    line = re.sub(r"^(connection failed: )?(connection to server at .*? failed: )?((FATAL|ERROR):\s+)?", "", line)
    for value in (login.password, login.username):
        if value:
            line = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", line)
    return line[:300]
