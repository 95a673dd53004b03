"""The agent and the users' Secrets: rotated, emptied, missing, revoked; and where passwords may be."""

import psycopg
import pytest
from tests.process import agentdb
from tests.process.agentcase import PASSWORD, intent, nonsense, reasons
from tests.process.agentpod import Pod, eventually
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

pytestmark = PROCESS


def test_a_secret_without_the_key_is_told_and_the_other_users_serve(pod: Pod, postgres: Postgres) -> None:
    wanted = pod.mount_intent(intent(postgres, "shop", "blog"))
    pod.mount_user("blog", {"username": "blog", "uri": "postgres://x"})
    pod.start()
    state = pod.runs(wanted)
    assert state["users"]["blog"]["ok"] is False
    assert state["users"]["blog"]["message"] == (
        "The Secret of user blog has no key password; found: uri, username. Set users[blog].passwordKey."
    )
    with pod.connect("shop", "shop", PASSWORD) as client:
        client.execute("select 1")


def test_a_rotated_password_is_taken_and_the_old_one_is_refused(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres))
    with pod.connect("shop", "shop", PASSWORD) as old:
        old.execute("select 1")
        postgres.sql("alter role shop password 'another'")
        generation = pod.mount_user("shop", {"username": "shop", "password": "another"})
        eventually("the new Secret is seen", lambda: pod.state()["users"]["shop"]["generation"] == generation)
        eventually("it is in force", lambda: pod.logs_in("shop", "shop", "another"))
        assert not pod.logs_in("shop", "shop", PASSWORD)
        old.execute("select 1")


def test_an_emptied_secret_cuts_nobody_not_even_after_the_agents_restart(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres))
    pod.mount_user("shop", {})
    eventually("it is told", lambda: "stay in use" in pod.state()["users"]["shop"]["message"])
    pod.kill_worker()
    state = pod.runs(intent(postgres))
    assert state["users"]["shop"]["ok"] is True
    assert pod.logs_in("shop", "shop", PASSWORD)


def test_a_user_taken_out_cannot_log_in_any_more_though_pgbouncer_remembers(pod: Pod, postgres: Postgres) -> None:
    agentdb.role(postgres, "blog", "s3cret-of-blog")
    pod.mount_intent(intent(postgres, "shop", "blog"))
    pod.mount_user("blog", {"username": "blog", "password": "s3cret-of-blog"})
    pod.start()
    pod.runs(intent(postgres, "shop", "blog"))
    assert pod.logs_in("shop", "blog", "s3cret-of-blog")
    pod.runs(pod.mount_intent(intent(postgres, "shop")))
    assert not pod.logs_in("shop", "blog", "s3cret-of-blog")
    assert pod.logs_in("shop", "shop", PASSWORD)


def test_no_password_is_in_what_the_agent_tells(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres))
    pod.mount_intent(nonsense(intent(postgres)))
    eventually("a refusal is told", lambda: reasons(pod) == {"CandidateRefused"})
    told = "".join(pod.http(path)[1] for path in ("/state", "/metrics", "/startupz", "/livez", "/nothing"))
    assert PASSWORD not in told + pod.logs()
    assert "pgbouncer_up 1.0" in told


def test_files_with_passwords_are_for_the_pods_uid_only(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres))
    holding = [path for path in pod.run.iterdir() if path.is_file() and PASSWORD in path.read_text(errors="replace")]
    assert {path.name for path in holding} == {"userlist.txt", "credentials"}
    assert {path.stat().st_mode & 0o777 for path in pod.run.iterdir() if path.is_file()} == {0o600}


@pytest.mark.parametrize("login", ["nobody", "postgres", ""])
def test_an_unknown_login_is_refused_like_a_wrong_password_and_postgresql_hears_nothing(
    pod: Pod, postgres: Postgres, login: str
) -> None:
    """An empty `auth_user` made PgBouncer log in to PostgreSQL with an empty name, in the place of an idle session."""
    pod.start()
    pod.runs(intent(postgres))
    with pod.connect("shop", "shop", PASSWORD) as client:
        before = client.execute("select pg_backend_pid()").fetchone()
    heard = agentdb.refusals(postgres)
    assert _refusal(pod, login, "x") == _refusal(pod, "shop", "wrong")
    assert agentdb.refusals(postgres) == heard
    with pod.connect("shop", "shop", PASSWORD) as client:
        assert client.execute("select pg_backend_pid()").fetchone() == before


def _refusal(pod: Pod, login: str, password: str) -> str:
    with pytest.raises(psycopg.OperationalError) as refused:
        pod.connect("shop", login, password)
    return str(refused.value).partition("FATAL:")[2]
