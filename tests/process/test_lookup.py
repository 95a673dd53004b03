"""The function for authQuery on a real PostgreSQL: who may ask, and who is found."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql
from tests.process.servers import Postgres

from pgbouncer_operator.pgbouncer import lookup

pytestmark = pytest.mark.process
PASSWORD = "canary"
NASTY = "o'look\"up $do$ \\ %s"


@dataclass(frozen=True, slots=True)
class Directory:
    """A database with the function in it, for the role that may ask."""

    server: Postgres
    name: str
    role: str = NASTY

    def ask(self, login: str, role: str = NASTY, before: str = "") -> list[tuple[str, str]]:
        """What the function answers to a role."""
        with psycopg.connect(
            host="127.0.0.1", port=self.server.port, user=role, password=PASSWORD, dbname=self.name, autocommit=True
        ) as connection:
            if before:
                connection.execute(before)  # type: ignore[arg-type]
            return connection.execute("SELECT * FROM pgbouncer.lookup(%s)", (login,)).fetchall()

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.server.sql(statement, dbname=self.name)

    def install(self) -> None:
        self.run(lookup.install(self.role))


def test_roles_with_md5_passwords_are_named_with_the_remedy_to_whoever_runs_the_sql(directory: Directory) -> None:
    """PgBouncer tells their failure in its log only."""
    assert noticed(directory) == []
    directory.run("SET password_encryption = 'md5'; CREATE ROLE \"Old one\" LOGIN PASSWORD 'pw-of-legacy'")
    try:
        ((message, hint),) = noticed(directory)
        assert message == 'PgBouncer refuses roles whose passwords are stored as md5: "Old one"'
        assert hint.startswith("Set password_encryption to scram-sha-256")
        directory.run("ALTER ROLE \"Old one\" PASSWORD 'pw-of-legacy'")
        assert noticed(directory) == []
    finally:
        directory.run('DROP ROLE "Old one"')


def noticed(directory: Directory) -> list[tuple[str, str]]:
    """The warnings of running the SQL once more: message and hint."""
    found: list[tuple[str, str]] = []

    def note(each: psycopg.errors.Diagnostic) -> None:
        if each.severity_nonlocalized == "WARNING":
            found.append((each.message_primary or "", each.message_hint or ""))

    with psycopg.connect(
        host="127.0.0.1", port=directory.server.port, user="postgres", dbname=directory.name, autocommit=True
    ) as connection:
        connection.add_notice_handler(note)
        connection.execute(lookup.install(directory.role))  # type: ignore[arg-type]
    return found


@pytest.fixture
def directory(postgres: Postgres) -> Iterator[Directory]:
    """A database of the test's own. Roles belong to the whole server, so they are dropped with it."""
    here = Directory(postgres, f"directory_{secrets.token_hex(4)}")
    postgres.sql(f"CREATE DATABASE {here.name}")
    here.install()
    literal = sql.Literal(PASSWORD).as_string(None)
    here.run(f"ALTER ROLE {quoted(NASTY)} PASSWORD {literal}")
    roles = {
        "shop": f"LOGIN PASSWORD {literal}",
        "later": f"LOGIN PASSWORD {literal} VALID UNTIL '2999-01-01'",
        "expired": f"LOGIN PASSWORD {literal} VALID UNTIL '2001-01-01'",
        "root": f"LOGIN SUPERUSER PASSWORD {literal}",
        "replica": f"LOGIN REPLICATION PASSWORD {literal}",
        "team": f"NOLOGIN PASSWORD {literal}",
        "bare": "LOGIN",
    }
    for name, attributes in roles.items():
        here.run(f"CREATE ROLE lookup_{name} {attributes}")
    try:
        yield here
    finally:
        postgres.sql(f"DROP DATABASE {here.name} WITH (FORCE)")
        for name in (*(f"lookup_{name}" for name in roles), NASTY):
            postgres.sql(f"DROP ROLE IF EXISTS {quoted(name)}")


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return sql.Identifier(name).as_string(None)


@pytest.mark.parametrize("name", ["lookup_shop", "lookup_later"])
def test_a_login_is_answered_with_its_verifier(directory: Directory, name: str) -> None:
    ((found, verifier),) = directory.ask(name)
    assert found == name
    assert verifier.startswith("SCRAM-SHA-256$")


@pytest.mark.parametrize(
    "name", ["lookup_expired", "lookup_root", "lookup_replica", "lookup_team", "postgres", "nobody"]
)
def test_who_must_not_log_in_is_not_found(directory: Directory, name: str) -> None:
    assert directory.ask(f"lookup_{name}") == []


def test_a_role_without_a_password_has_no_verifier(directory: Directory) -> None:
    assert directory.ask("lookup_bare") == [("lookup_bare", None)]


def test_a_login_that_expires_is_no_longer_found(directory: Directory) -> None:
    assert directory.ask("lookup_shop")
    directory.run("ALTER ROLE lookup_shop VALID UNTIL 'yesterday'")
    assert directory.ask("lookup_shop") == []


def test_nobody_else_may_ask(directory: Directory) -> None:
    directory.run("GRANT USAGE ON SCHEMA pgbouncer TO lookup_shop")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for function lookup"):
        directory.ask("lookup_shop", role="lookup_shop")


def test_the_role_that_asks_may_do_nothing_else(directory: Directory) -> None:
    for query in ("SELECT * FROM pg_authid", "CREATE TABLE pgbouncer.mine ()", "ALTER ROLE lookup_shop SUPERUSER"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            directory.ask("lookup_shop", before=query)


def test_a_callers_own_objects_do_not_get_in_its_way(directory: Directory) -> None:
    trap = """
        CREATE TEMPORARY TABLE pg_authid AS SELECT 'lookup_root'::name AS rolname, 'x' AS rolpassword;
        SET search_path = pg_temp, public, pg_catalog
    """
    ((_, verifier),) = directory.ask("lookup_shop", before=trap)
    assert verifier.startswith("SCRAM-SHA-256$")
    assert directory.ask("lookup_root", before=trap) == []


def test_running_it_again_changes_nothing_and_takes_back_what_others_were_given(directory: Directory) -> None:
    before = directory.ask("lookup_shop")
    directory.run("GRANT EXECUTE ON FUNCTION pgbouncer.lookup(text) TO PUBLIC")
    directory.install()
    assert directory.ask("lookup_shop") == before
    directory.run("GRANT USAGE ON SCHEMA pgbouncer TO lookup_shop")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        directory.ask("lookup_shop", role="lookup_shop")
