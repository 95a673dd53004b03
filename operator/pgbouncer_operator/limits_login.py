"""One login to a PostgreSQL server that nobody trusts, as a process of its own.

It is run as `python -m pgbouncer_operator.limits_login`.

The question comes as JSON on standard input, because others can read arguments and environment. The answer is one line
of JSON on standard output. It holds numbers or the name of a `Failure`, and none of the server's words: an error text
shows whoever may read the status which hosts and ports answer in the operator's network, and how.

The process limits itself before it connects: libpq keeps a whole row in memory, and a hostile server sends one without
an end.
"""

import json
import os
import re
import resource
import signal
import sys
from enum import StrEnum
from typing import Any

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 3
PROCESS_SECONDS = 12  # of the whole process: connect_timeout applies to each address that the host resolves to
CPU_SECONDS = 5
MEMORY = 16 << 20  # bytes beyond those in use before the connection; the public CAs need 3 MiB
TEXT_MAX = 4096  # characters of an error that are looked at
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


class Failure(StrEnum):
    """Why there is no answer."""

    REFUSED_LOGIN = "RefusedLogin"
    NO_ENTRY = "NoEntry"
    DATABASE = "Database"
    FULL = "Full"
    WITHOUT_TLS = "WithoutTls"
    CERTIFICATE = "Certificate"
    STARTING = "Starting"
    QUERY = "Query"
    VALUE = "Value"
    UNREACHABLE = "Unreachable"
    """Everything else, so that it is no port scanner: refused, silent, not resolved, not PostgreSQL."""


# libpq gives no SQLSTATE for a login that failed, so the English text decides; in another language it is Unreachable.
_PATTERNS = {
    Failure.REFUSED_LOGIN: r"password authentication failed|role \".*\" (does not exist|is not permitted to log in)",
    Failure.NO_ENTRY: r"no pg_hba\.conf entry|pg_hba\.conf rejects",
    Failure.DATABASE: r"database \".*\" does not exist",
    Failure.FULL: r"too many (clients|connections)|remaining connection slots",
    Failure.WITHOUT_TLS: r"server does not support SSL",
    Failure.CERTIFICATE: r"SSL error: .*(certificate|signature)|does not match host name|root certificate file",
    Failure.STARTING: r"the database system is",
}


def main() -> None:
    """Answer the question on standard input."""
    signal.alarm(PROCESS_SECONDS)  # without a handler it ends the process, whatever the process does
    question = json.load(sys.stdin)
    import psycopg

    _limit()
    try:
        answer: dict[str, Any] = {"row": _ask(question)}
    except psycopg.ProgrammingError as error:  # without an SQLSTATE it is psycopg's own, of what it was given
        answer = {"failure": Failure.QUERY if error.sqlstate else Failure.VALUE}
    except psycopg.Error as error:
        answer = {"failure": failure(str(error))}
    except (MemoryError, OSError, ValueError):
        answer = {"failure": Failure.UNREACHABLE}
    sys.stdout.write(json.dumps(answer))


def failure(text: str) -> Failure:
    """The failure that an error text of libpq or PostgreSQL names."""
    return next(
        (each for each, pattern in _PATTERNS.items() if re.search(pattern, text[:TEXT_MAX])), Failure.UNREACHABLE
    )


def _limit() -> None:
    with open("/proc/self/statm") as file:  # https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html
        pages = [int(each) for each in file.read().split()]
    size, data = (each * resource.getpagesize() for each in (pages[0], pages[5]))
    for name, most in (
        (resource.RLIMIT_DATA, data + MEMORY),
        (resource.RLIMIT_AS, size + 2 * MEMORY),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (most, most))


def _ask(question: dict[str, Any]) -> Any:
    import psycopg

    if any("\0" in str(value) for value in question.values()):  # libpq would take the text before it
        raise psycopg.ProgrammingError
    with psycopg.connect(
        host=question["host"],
        port=question["port"],
        dbname=question["database"],
        user=question["username"],
        password=question["password"],
        sslmode=question["sslmode"],
        sslrootcert=_certificates(question),
        sslcert="",
        gssencmode="disable",
        target_session_attrs="any",
        connect_timeout=CONNECT_SECONDS,
        application_name=question["application"],
        options=OPTIONS,
        autocommit=True,
    ) as connection:
        return connection.execute(QUESTION).fetchone()


def _certificates(question: dict[str, Any]) -> str:
    """Path of a file for libpq's sslrootcert. It is in memory: the operator's root file system is read-only."""
    if not question["sslmode"].startswith("verify"):
        # With sslmode=require libpq verifies if it finds a file, and by default it searches the home directory.
        # https://www.postgresql.org/docs/current/libpq-ssl.html#LIBQ-SSL-CERTIFICATES
        return "/nonexistent"
    if not question["authority"]:
        return str(question["system"])
    number = os.memfd_create("ca")
    os.write(number, question["authority"].encode())
    return f"/proc/self/fd/{number}"


if __name__ == "__main__":
    main()
