"""What the agent's tests ask of a PostgreSQL of their own."""

import subprocess

import psycopg
from tests.process import rootfs
from tests.process.servers import Postgres


def role(server: Postgres, name: str, password: str) -> None:
    """The role with this password, whatever it had before."""
    try:
        server.role(name, password)
    except psycopg.errors.DuplicateObject:
        server.sql(f"alter role {name} password '{password}'")


def sessions(server: Postgres, name: str) -> int:
    """Backends of that role, as PostgreSQL counts them."""
    return int(server.sql("select count(*) from pg_stat_activity where usename = %s", name)[0][0])


def refusals(server: Postgres) -> list[str]:
    """The logins that PostgreSQL has refused so far, in its own words."""
    return [line for line in (server.root / "log").read_text().splitlines() if "FATAL:" in line]


def restart(server: Postgres) -> None:
    """Start it again after `stop`."""
    options = ("-D", str(server.root / "data"), "-l", str(server.root / "log"), "-w", "start")
    argv = rootfs.command(f"{rootfs.POSTGRES_BIN}/pg_ctl", *options)
    with (server.root / "commands.log").open("ab") as log:
        subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
