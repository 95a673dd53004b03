"""A real PostgreSQL and a real PgBouncer on loopback, with a surface that makes a test read like a runbook."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from tests.process import rootfs
from tests.process.console import Console, ConsoleUnreachable

from pgbouncer_operator.pgbouncer import hba, ini, userlist

STATS_USER = "stats_test"
DEADLINE = 20.0


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def as_server_user() -> Iterator[None]:
    """Act with the servers' uid: PgBouncer asks the kernel who is at the other end of its Unix socket."""
    os.seteuid(rootfs.UID)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A directory of the servers' user with a short name: a Unix socket has no room for a long one."""
    path = Path(tempfile.mkdtemp(prefix="pgb-"))
    os.chown(path, rootfs.UID, rootfs.UID)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """The condition's first true value; AssertionError with `what` when none comes."""
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.02)
    return value


class Postgres:
    """One server. The superuser `postgres` needs no password, other roles log in with SCRAM."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()

    def start(self) -> None:
        data = self.root / "data"
        self._run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        settings = {
            "port": self.port,
            "listen_addresses": "'127.0.0.1'",
            "unix_socket_directories": f"'{self.root}'",
            "max_connections": 60,
            "fsync": "off",
            "dynamic_shared_memory_type": "mmap",  # the tree has no /dev/shm
        }
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{key} = {value}\n" for key, value in settings.items())
        rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (data / "pg_hba.conf").write_text(rules)
        self._run("pg_ctl", "-D", str(data), "-l", str(self.root / "log"), "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.root / "data"), "-m", "immediate", "-w", "stop")

    def sql(self, query: str, *values: object, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run as superuser, straight at the server."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname=dbname, autocommit=True
        ) as connection:
            cursor = connection.execute(query, values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def role(self, name: str, password: str) -> None:
        """A role that may log in."""
        with psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", autocommit=True) as connection:
            statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Literal(password)))

    def _run(self, program: str, *argv: str) -> None:
        # To a file: a server that stays behind would hold a pipe open.
        with (self.root / "commands.log").open("a") as log:
            command = rootfs.command(f"{rootfs.POSTGRES_BIN}/{program}", *argv)
            done = subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, timeout=120)
        assert done.returncode == 0, (self.root / "commands.log").read_text()


class Bouncer:
    """One PgBouncer, run on what our package renders."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        self.paths = ini.Paths(run=str(root))
        self.console = Console(str(root), self.port)
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, composition: ini.Composition) -> None:
        """Put the composition's files in place, nothing more."""
        passwords = [(each.login, each.password) for each in composition.logins]
        Path(self.paths.userlist).write_text(userlist.render([*passwords, (composition.stats_user, "not-used")]))
        Path(self.paths.hba).write_text(hba.render(composition.stats_user))
        self.write_ini(ini.render(composition))

    def write_ini(self, text: str) -> None:
        """Put a configuration of one's own in place."""
        Path(self.paths.ini).write_text(text)

    def start(self) -> None:
        """Start and wait for the console."""
        with (self.root / "log").open("a") as log:
            self._process = subprocess.Popen(
                rootfs.command("/usr/sbin/pgbouncer", self.paths.ini), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_until(self._answers, "PgBouncer's console answers")

    def stop(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE)
            self._process = None

    def freeze(self) -> None:
        """Stop it as a hung process is: sockets open, no answer."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM, and wait for the exit, which comes once the last session has closed."""
        self._signal(signal.SIGTERM)
        assert self._process is not None
        self._process.wait(DEADLINE)

    def reload(self) -> None:
        """RELOAD; ConsoleError with PgBouncer's words when it refuses."""
        self.admin("RELOAD")

    def admin(self, command: str) -> None:
        """Run a command on the console."""
        with as_server_user():
            self.console.command(command)

    def show(self, what: str) -> list[dict[str, Any]]:
        """The rows of a SHOW command."""
        with as_server_user():
            return self.console.query(f"SHOW {what}")

    def config(self) -> dict[str, str]:
        """SHOW CONFIG as a mapping."""
        return {row["key"]: row["value"] for row in self.show("CONFIG")}

    def log(self) -> str:
        """Everything PgBouncer has said."""
        return (self.root / "log").read_text()

    def connect(self, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """A client through the pooler, over TCP unless `host` says otherwise."""
        defaults = {"host": "127.0.0.1", "port": self.port, "connect_timeout": 10, "sslmode": "disable"}
        return psycopg.connect(**{**defaults, **options})

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            return bool(self.show("VERSION"))
        except ConsoleUnreachable:
            return False


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A started PostgreSQL, gone afterwards."""
    with directory() as root:
        server = Postgres(root)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def bouncer() -> Iterator[Bouncer]:
    """A PgBouncer, to be given files and started; gone afterwards."""
    with directory() as root:
        process = Bouncer(root)
        try:
            yield process
        finally:
            process.stop()
