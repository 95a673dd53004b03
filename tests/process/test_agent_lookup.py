"""Logins looked up in PostgreSQL, beside mounted users."""

from dataclasses import replace

import psycopg
import pytest
from tests.process import agentdb
from tests.process.agentcase import PASSWORD, intent
from tests.process.agentload import Load
from tests.process.agentpod import Pod, eventually
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

from pgbouncer_operator import naming
from pgbouncer_operator.pgbouncer import lookup
from pgbouncer_operator.pgbouncer.composition import LOOKUP
from pgbouncer_operator.protocol.intent import AuthQueryIntent, Intent

pytestmark = PROCESS
GUEST = ("guest", "pw-of-guest")


@pytest.fixture
def looking(pod: Pod, postgres: Postgres) -> Intent:
    """A pool that looks logins up by a role that may do nothing else; a role to be looked up."""
    postgres.sql(lookup.install())
    postgres.sql(f"alter role {lookup.ROLE} password 'pw-of-lookup'")
    agentdb.role(postgres, *GUEST)
    postgres.sql("alter role guest valid until 'infinity' login nosuperuser")
    pod.mount_user(naming.AUTH_QUERY_MOUNT, {"username": lookup.ROLE, "password": "pw-of-lookup"})
    query = AuthQueryIntent(naming.AUTH_QUERY_MOUNT, "shop", f"{lookup.SCHEMA}.{lookup.FUNCTION}")
    return pod.mount_intent(replace(intent(postgres), auth_query=query))


def test_mounted_and_looked_up_users_log_in_and_the_sum_keeps_to_the_cap(pod: Pod, looking: Intent) -> None:
    pod.start()
    assert pod.runs(looking)["users"]["authQuery"]["ok"] is True
    assert pod.logs_in("shop", "shop", PASSWORD)
    with pod.connect("shop", *GUEST) as client:
        assert client.execute("select current_user").fetchone() == ("guest",)
    with pod.console() as console:
        limits = {row["name"]: int(row["max_connections"]) for row in console.query("SHOW DATABASES")}
    assert limits[LOOKUP] == 1
    assert limits["shop"] + limits[LOOKUP] == 5


def test_logins_are_looked_up_while_others_hold_every_connection(pod: Pod, looking: Intent) -> None:
    """Only the login: a transaction of another role waits for a connection that the busy one leaves idle."""
    pod.start()
    pod.runs(looking)
    assert pod.logs_in("shop", *GUEST), "PgBouncer greets a role with what PostgreSQL said at its first connection"
    with Load(pod, clients=12) as load:
        eventually("there is load", lambda: load.done > 20)
        pod.connect("shop", *GUEST, connect_timeout=10).close()
        with pytest.raises(psycopg.OperationalError):
            pod.connect("shop", GUEST[0], "wrong", connect_timeout=10)
    assert load.failures == []


@pytest.mark.parametrize(
    "sql",
    [
        "alter role guest password 'another'",
        "alter role guest valid until '2001-01-01'",
        "alter role guest nologin",
        "alter role guest superuser",
    ],
)
def test_what_postgresql_takes_back_is_refused_at_the_next_login(
    pod: Pod, postgres: Postgres, looking: Intent, sql: str
) -> None:
    pod.start()
    pod.runs(looking)
    assert pod.logs_in("shop", *GUEST)
    postgres.sql(sql)
    assert not pod.logs_in("shop", *GUEST)


def test_nobody_reaches_the_entry_that_looks_up(pod: Pod, looking: Intent) -> None:
    pod.start()
    pod.runs(looking)
    for login in (("shop", PASSWORD), GUEST, (lookup.ROLE, "pw-of-lookup")):
        assert not pod.logs_in(LOOKUP, *login)


def test_taken_away_it_lets_no_looked_up_login_in(pod: Pod, postgres: Postgres, looking: Intent) -> None:
    pod.start()
    pod.runs(looking)
    assert pod.logs_in("shop", *GUEST)
    pod.runs(pod.mount_intent(intent(postgres)))
    heard = agentdb.refusals(postgres)
    assert not pod.logs_in("shop", *GUEST)
    assert not pod.logs_in("shop", "nobody", "x")
    assert pod.logs_in("shop", "shop", PASSWORD)
    assert agentdb.refusals(postgres) == heard


def test_a_role_that_may_not_look_up_is_told(pod: Pod, postgres: Postgres, looking: Intent) -> None:
    pod.mount_user(naming.AUTH_QUERY_MOUNT, {"username": lookup.ROLE, "password": "wrong"})
    pod.start()
    pod.runs(looking)
    told = eventually("it is told", lambda: (found := pod.state()["backend"])["ok"] is False and found)
    assert told["reason"] == "BackendRefusedLogin"
    assert "user authQuery" in told["message"]
    with pytest.raises(psycopg.OperationalError):
        pod.connect("shop", *GUEST)


def test_a_role_whose_password_is_stored_as_md5_is_named_until_it_is_stored_for_scram(
    pod: Pod, postgres: Postgres, looking: Intent
) -> None:
    postgres.sql("set password_encryption = 'md5'; alter role guest password 'pw-of-guest'")
    pod.start()
    pod.runs(looking)
    assert not pod.logs_in("shop", *GUEST)
    assert not pod.logs_in("shop", "nobody", "x")
    eventually("it is named, and no name of a client's own", lambda: pod.state()["md5Roles"] == ["guest"], 60)
    ((stored,),) = postgres.sql("select rolpassword from pg_authid where rolname = 'guest'")
    assert stored[3:] not in str(pod.state())
    agentdb.role(postgres, *GUEST)
    assert pod.logs_in("shop", *GUEST)
    eventually("it is named no more", lambda: pod.state()["md5Roles"] == [], 60)
