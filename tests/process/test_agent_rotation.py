"""Passwords that change under load: two alternating roles lose nothing; one role's plain change, as it is."""

import time
from collections.abc import Callable

import psycopg
import pytest
from tests.process import agentdb
from tests.process.agentcase import PASSWORD, intent
from tests.process.agentload import Load
from tests.process.agentpod import Pod, eventually
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

pytestmark = PROCESS
REFUSED_SECONDS = 5.0


def rotate(pod: Pod, postgres: Postgres, name: str, password: str) -> None:
    """The role first, then its Secret; returns when the pod lets the new password in."""
    agentdb.role(postgres, name, password)
    pod.mount_user(name, {"username": name, "password": password})
    eventually("the new password is in force", lambda: pod.logs_in("shop", name, password))


def test_two_alternating_roles_rotate_under_load_without_a_failure(pod: Pod, postgres: Postgres) -> None:
    agentdb.role(postgres, "blue", "blue-0")
    agentdb.role(postgres, "green", "green-0")
    passwords = {"blue": "blue-0", "green": "green-0"}
    wanted = pod.mount_intent(intent(postgres, "blue", "green"))
    for name, password in passwords.items():
        pod.mount_user(name, {"username": name, "password": password})
    pod.start()
    pod.runs(wanted)
    failures, done = [], 0
    for number in range(1, 5):
        used, resting = ("blue", "green") if number % 2 else ("green", "blue")
        with Load(pod, clients=6, login=(used, passwords[used])) as load:
            eventually("the role in use works", lambda load=load: load.done > 20)
            passwords[resting] = f"{resting}-{number}"
            rotate(pod, postgres, resting, passwords[resting])
            at = load.done
            eventually("it works on", lambda load=load, at=at: load.done > at + 20)
        failures += load.failures
        done += load.done
    assert failures == []
    assert done > 160


def test_a_plain_change_cuts_nobody_who_is_connected_and_refuses_the_old_password_soon(
    pod: Pod, postgres: Postgres, record_property: Callable[[str, object], None]
) -> None:
    pod.start()
    pod.runs(intent(postgres))
    assert pod.logs_in("shop", "shop", PASSWORD)  # PgBouncer keeps the verifier of a password that worked
    with Load(pod, clients=4) as load:  # fewer than the pool holds, so nobody needs a new connection meanwhile
        eventually("the load runs", lambda: load.done > 40)
        began = time.monotonic()
        postgres.sql("alter role shop password 'another'")
        pod.mount_user("shop", {"username": "shop", "password": "another"})
        refused = "the old password is refused"
        eventually(refused, lambda: not pod.logs_in("shop", "shop", PASSWORD), REFUSED_SECONDS)
        seconds = time.monotonic() - began
        assert pod.logs_in("shop", "shop", "another")
        record_property("seconds from the mounted Secret to the refusal of the old password", round(seconds, 3))
        print(f"the old password was refused after {seconds:.2f} s")
        done = load.done
        eventually("those connected go on", lambda: load.done > done + 40)
    assert load.failures == []
    agentdb.role(postgres, "shop", PASSWORD)


def test_a_revoked_user_is_refused_soon_though_its_verifier_is_cached(
    pod: Pod, postgres: Postgres, record_property: Callable[[str, object], None]
) -> None:
    agentdb.role(postgres, "blog", "s3cret-of-blog")
    pod.mount_intent(intent(postgres, "shop", "blog"))
    pod.mount_user("blog", {"username": "blog", "password": "s3cret-of-blog"})
    pod.start()
    pod.runs(intent(postgres, "shop", "blog"))
    assert pod.logs_in("shop", "blog", "s3cret-of-blog")
    with Load(pod, clients=4) as load:
        began = time.monotonic()
        pod.mount_intent(intent(postgres, "shop"))
        eventually("it is refused", lambda: not pod.logs_in("shop", "blog", "s3cret-of-blog"), REFUSED_SECONDS)
        record_property("seconds from the mounted change to the refusal", round(time.monotonic() - began, 3))
    assert load.failures == []


def test_a_wrong_new_password_is_told_though_a_connection_is_still_open(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres))
    eventually("the backend is well", lambda: pod.state()["backend"]["ok"])
    eventually("one connection is open", lambda: agentdb.sessions(postgres, "shop") == 1)
    pod.mount_user("shop", {"username": "shop", "password": "not what PostgreSQL knows"})
    found = eventually("it is told", lambda: (b := pod.state()["backend"]) and b["ok"] is False and b)
    assert found["reason"] == "BackendRefusedLogin"
    pod.mount_user("shop", {"username": "shop", "password": PASSWORD})
    eventually("the right one is well", lambda: pod.state()["backend"]["ok"])


def test_a_wrong_new_password_takes_nothing_from_clients_that_are_served(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres))
    with pod.connect("shop", "shop", PASSWORD) as client:
        pid = client.execute("select pg_backend_pid()").fetchone()
        generation = pod.mount_user("shop", {"username": "shop", "password": "not yet known to PostgreSQL"})
        eventually("it is read", lambda: pod.state()["users"]["shop"]["generation"] == generation)
        eventually("the old one is refused", lambda: not pod.logs_in("shop", "shop", PASSWORD))
        assert client.execute("select pg_backend_pid()").fetchone() == pid
        with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
            pod.connect("shop", "shop", PASSWORD)
