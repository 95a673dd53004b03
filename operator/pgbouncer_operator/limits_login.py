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
import select
import signal
import socket
import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

CONNECT_SECONDS = 5  # for each address of the host
STATEMENT_SECONDS = 3
PROCESS_SECONDS = 12  # of the whole process, with all addresses of the host
CPU_SECONDS = 5
MEMORY = 16 << 20  # bytes beyond those in use before the connection; the public CAs need 3 MiB
FILE = 2 << 20  # bytes of each file in memory: the CA, which has at most 1 MiB, and the messages of the login
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
    CONNECT = "Connect"
    DATABASE = "Database"
    FULL = "Full"
    WITHOUT_TLS = "WithoutTls"
    CERTIFICATE = "Certificate"
    STARTING = "Starting"
    QUERY = "Query"
    VALUE = "Value"
    UNREACHABLE = "Unreachable"
    """Everything else, so that it is no port scanner: refused, silent, not resolved, not PostgreSQL."""


class Failed(Exception):
    """There is no answer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


# https://www.postgresql.org/docs/current/errcodes-appendix.html: a class has two characters. The texts beside the codes
# are in the language of the server.
_SQLSTATES = {
    "28": Failure.REFUSED_LOGIN,
    "42501": Failure.CONNECT,
    "3D000": Failure.DATABASE,
    "55000": Failure.DATABASE,
    "53300": Failure.FULL,
    "57P": Failure.STARTING,
}
# What libpq says by itself has no SQLSTATE. It speaks English: it is built without translations.
_PATTERNS = {
    Failure.NO_ENTRY: r"GSSAPI|SSPI|authentication method",
    Failure.WITHOUT_TLS: r"server does not support SSL",
    Failure.CERTIFICATE: r"SSL error: .*(certificate|signature)|does not match host name|root certificate file",
}
# A line of https://www.postgresql.org/docs/current/libpq-control.html#LIBPQ-PQTRACE; C is the field of the SQLSTATE.
_ERROR = re.compile(rb'^B\t\d+\tErrorResponse\t S "[^"]*"(?: V "[^"]*")? C "([0-9A-Z]{5})"', re.MULTILINE)


def main() -> None:
    """Answer the question on standard input."""
    signal.alarm(PROCESS_SECONDS)  # without a handler it ends the process, whatever the process does
    question = json.load(sys.stdin)
    import psycopg  # the limits of memory count from what it takes

    _limit()
    try:
        answer: dict[str, Any] = {"row": _ask(question)}
    except Failed as error:
        answer = {"failure": error.failure}
    except psycopg.Error:  # libpq has no memory, or cannot read what it was given
        answer = {"failure": Failure.UNREACHABLE}
    except (MemoryError, OSError, ValueError):
        answer = {"failure": Failure.UNREACHABLE}
    sys.stdout.write(json.dumps(answer))


def failure(sqlstate: str, text: str) -> Failure:
    """Why a login failed. sqlstate: empty where PostgreSQL sent no error. text: libpq's, with PostgreSQL's in it."""
    found = next((each for code, each in _SQLSTATES.items() if sqlstate.startswith(code)), Failure.UNREACHABLE)
    if found is Failure.REFUSED_LOGIN and sqlstate == "28000" and "pg_hba.conf" in text[:TEXT_MAX]:
        return Failure.NO_ENTRY  # the file's name is in the message of every language
    if sqlstate:
        return found
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
        (resource.RLIMIT_FSIZE, FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (most, most))


def _ask(question: dict[str, Any]) -> list[Any]:
    """The row of the answer. Raises Failed, or OSError for a host that is not resolved."""
    from psycopg import pq
    from psycopg.conninfo import make_conninfo

    if any("\0" in str(value) for value in question.values()):  # libpq would take the text before it
        raise Failed(Failure.VALUE)
    parameters = {
        "host": question["host"],
        "port": question["port"],
        "dbname": question["database"],
        "user": question["username"],
        "password": question["password"],
        "sslmode": question["sslmode"],
        "sslrootcert": _certificates(question),
        "sslcert": "",
        "gssencmode": "disable",
        "target_session_attrs": "any",
        "application_name": question["application"],
        "options": OPTIONS,
        "client_encoding": "UTF8",
    }
    connection = _login([make_conninfo(**parameters, hostaddr=each) for each in _addresses(question["host"])])
    result = connection.exec_(QUESTION.encode())
    if result.status != pq.ExecStatus.TUPLES_OK or (result.ntuples, result.nfields) != (1, 5):
        raise Failed(Failure.QUERY if result.error_field(pq.DiagnosticField.SQLSTATE) else Failure.UNREACHABLE)
    *numbers, started, superuser = ((result.get_value(0, column) or b"").decode() for column in range(5))
    connection.finish()
    return [*map(int, numbers), started, superuser == "t"]


def _addresses(host: str) -> list[str]:
    """The addresses of a host, each once, as the resolver orders them."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def _login(addresses: list[str]) -> "PGconn":
    """A connection to the first address where somebody answers. addresses: as libpq's connection strings.

    Raises Failed. libpq tells no SQLSTATE of a login that fails, and psycopg none either, but libpq writes the messages
    that it gets to a trace.
    """
    from psycopg import pq

    last = Failed(Failure.UNREACHABLE)
    for each in addresses:
        connection = pq.PGconn.connect_start(each.encode())
        trace = os.memfd_create("trace")
        try:
            connection.trace(trace)
            connection.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
            finished = _finished(connection)
            connection.untrace()  # closes no file, but writes what is left of it
            sqlstate = _ERROR.search(os.pread(trace, FILE, 0))
        finally:
            os.close(trace)
        if finished and connection.status == pq.ConnStatus.OK:
            return connection
        text = connection.get_error_message() if finished else ""
        last = Failed(failure(sqlstate[1].decode() if sqlstate else "", text))
        if last.failure is not Failure.UNREACHABLE:
            break
    raise last


def _finished(connection: "PGconn") -> bool:
    """Poll until the login has succeeded or failed. False when it has not within CONNECT_SECONDS."""
    from psycopg import pq

    deadline = time.monotonic() + CONNECT_SECONDS
    if connection.status == pq.ConnStatus.BAD:
        return True
    waits: int = pq.PollingStatus.WRITING
    while waits in (pq.PollingStatus.READING, pq.PollingStatus.WRITING):
        event = select.POLLIN if waits == pq.PollingStatus.READING else select.POLLOUT
        poll = select.poll()
        poll.register(connection.socket, event)
        if not poll.poll(1000 * max(0.0, deadline - time.monotonic())):
            return False
        waits = connection.connect_poll()
    return True


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
