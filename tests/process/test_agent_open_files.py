"""The limit of open files: raised at the start, and the limit of clients where it cannot be raised far enough."""

import contextlib
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from tests.process.agentcase import PASSWORD, reasons
from tests.process.agentpod import Pod, eventually, with_settings
from tests.process.marks import PROCESS

from pgbouncer_operator.pgbouncer.composition import RESERVED_FILES

pytestmark = PROCESS
FILES = 128
ROOM = FILES - 5 - RESERVED_FILES  # without the server connections and what console and probe need


def started(pod: Pod, limits: str, **settings: str | int) -> None:
    """A pod whose node starts containers with these limits (soft:hard) of open files."""
    assert pod.intent is not None
    wanted = pod.mount_intent(with_settings(pod.intent, **settings))
    pod.start_agent("prlimit", f"--nofile={limits}")
    eventually("the agent is ready", lambda: pod.http("/startupz")[0] == 200)
    pod.start_pgbouncer("prlimit", f"--nofile={limits}")
    pod.runs(wanted)


@contextlib.contextmanager
def clients(pod: Pod, number: int) -> Iterator[list[psycopg.Connection[tuple[object, ...]]]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(pod.connect("shop", "shop", PASSWORD)) for _ in range(number)]


def answers(pod: Pod) -> bool:
    """Whether the probe of the pgbouncer container succeeds."""
    return pod.script("probe", str(pod.run), str(pod.port)).wait(20) == 0


def lives(pod: Pod) -> bool:
    """Whether the liveness probe of the pgbouncer container succeeds."""
    assert pod.pgbouncer is not None
    return pod.script("liveness", str(pod.run), str(pod.port), str(pod.pgbouncer.pid)).wait(20) == 0


def test_a_low_soft_limit_is_raised_and_clients_beyond_it_are_served(pod: Pod) -> None:
    started(pod, f"{FILES}:20000")
    with clients(pod, FILES) as connected:
        assert connected[-1].execute("select 1").fetchone() == (1,)
        assert answers(pod)
        assert pod.state()["clients"] == FILES
    assert reasons(pod) == set()


def test_where_the_hard_limit_is_low_clients_are_limited_and_console_and_probe_still_answer(pod: Pod) -> None:
    started(pod, f"{FILES}:{FILES}")
    with clients(pod, ROOM) as connected:
        with pytest.raises(psycopg.OperationalError, match="max_client_conn"):
            pod.connect("shop", "shop", PASSWORD)
        assert connected[-1].execute("select 1").fetchone() == (1,)
        assert answers(pod)
        state = pod.state()
    assert state["clients"] == ROOM
    assert [(each["reason"], each["message"].partition(":")[0]) for each in state["problems"]] == [
        (
            "ClientsLimited",
            f"the node lets PgBouncer open {FILES} files in a pod, so a pod accepts {ROOM} clients, not 2000",
        )
    ]


def test_a_full_pod_has_files_left_for_logins_cancel_requests_and_probes(pod: Pod) -> None:
    """What PgBouncer uses beside clients and server connections is a fourth of what is reserved at most."""
    started(pod, f"{FILES}:{FILES}")
    assert pod.pgbouncer is not None
    with clients(pod, ROOM) as connected, contextlib.ExitStack() as stack:
        state = pod.state()
        used = len(os.listdir(f"/proc/{pod.pgbouncer.pid}/fd")) - state["clients"] - state["open"]
        assert used <= RESERVED_FILES / 4
        for _ in range(20):  # logins that have only begun
            stack.enter_context(socket.create_connection(("127.0.0.1", pod.port), 5)).sendall(b"\0")
        sleeper = connected[0]
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(sleeper.execute, "select pg_sleep(60)")
            eventually("the statement runs", lambda: pod.state()["busy"] > 0)
            sleeper.cancel_safe(timeout=10)
            with pytest.raises(psycopg.errors.QueryCanceled):
                running.result(20)
        assert answers(pod)
        assert reasons(pod) == {"ClientsLimited"}


def test_connections_that_say_nothing_end_at_client_login_timeout_and_cost_no_client_its_session(pod: Pod) -> None:
    """They count as clients only once they have named themselves, so no limit of clients keeps them out."""
    started(pod, f"{FILES}:{FILES}", client_login_timeout=8)
    with clients(pod, 1) as (client,), contextlib.ExitStack() as stack:
        for _ in range(FILES):
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", pod.port), 5))
            silent.sendall(b"\0")
        eventually("they hold every file", lambda: reasons(pod) >= {"ConsoleUnreachable"})
        assert (answers(pod), lives(pod)) == (False, True)
        assert client.execute("select 1").fetchone() == (1,)
        eventually("all of them are closed", lambda: answers(pod) and "ConsoleUnreachable" not in reasons(pod), 30)
        assert client.execute("select 1").fetchone() == (1,)
