"""Logins that pools have in practice: tokens of clouds as passwords, and the role name that instructions recommend."""

import psycopg
import pytest
from tests.process import agentdb
from tests.process.agentcase import intent, reasons
from tests.process.agentpod import Pod, eventually, with_settings
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

from pgbouncer_operator.pgbouncer.parameters import MAX_PASSWORD_BYTES

pytestmark = PROCESS
TOKEN = "host.example:5432/?Action=connect&X-Amz-Security-Token=" + "t0ken" * 500


def logs_in(pod: Pod, user: str, password: str) -> bool:
    with pod.connect("shop", user, password) as client:
        return client.execute("select current_user").fetchone() == (user,)


def test_a_token_of_thousands_of_bytes_is_a_password(pod: Pod, postgres: Postgres) -> None:
    agentdb.role(postgres, "cloud", TOKEN)
    pod.mount_user("shop", {"username": "cloud", "password": TOKEN})
    pod.start()
    pod.runs(intent(postgres))
    assert logs_in(pod, "cloud", TOKEN)
    eventually("the backend is well", lambda: pod.state()["backend"]["ok"])


def test_the_longest_password_that_is_accepted_is_one_that_pgbouncer_reads(pod: Pod, postgres: Postgres) -> None:
    """PgBouncer skips the rest of the file at a line that it cannot read: the user after it is there, too."""
    pod.mount_user("aaa", {"username": "aaa", "password": "p" * MAX_PASSWORD_BYTES})
    pod.start()
    pod.runs(pod.mount_intent(intent(postgres, "aaa", "shop")))
    with pod.console() as console:
        assert {"aaa", "shop"} <= {row["name"] for row in console.query("SHOW USERS")}


def test_a_role_named_pgbouncer_is_a_role_like_others_and_the_console_stays_closed(
    pod: Pod, postgres: Postgres
) -> None:
    agentdb.role(postgres, "pgbouncer", "pw-of-lookup")
    pod.mount_user("shop", {"username": "pgbouncer", "password": "pw-of-lookup"})
    pod.start()
    wanted = intent(postgres)
    pod.runs(wanted)
    assert logs_in(pod, "pgbouncer", "pw-of-lookup")
    eventually("the backend is well", lambda: pod.state()["backend"]["ok"])
    for password in ("pw-of-lookup", "wrong", ""):
        with pytest.raises(psycopg.OperationalError):
            pod.connect("pgbouncer", "pgbouncer", password)
    with pytest.raises(psycopg.OperationalError):
        pod.connect("shop", "pgbouncer", "wrong")
    pod.runs(pod.mount_intent(with_settings(wanted, query_timeout=9)))
    assert logs_in(pod, "pgbouncer", "pw-of-lookup")
    assert reasons(pod) == set()
