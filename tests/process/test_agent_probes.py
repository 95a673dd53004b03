"""The probes of the pgbouncer container: readiness is a login, liveness is an event loop that turns."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from tests.process.agentcase import intent
from tests.process.agentpod import Pod
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

pytestmark = PROCESS


@contextlib.contextmanager
def starved(pid: int) -> Iterator[None]:
    """The process runs for a tenth of a second in every three, as on a node without CPU."""
    over = threading.Event()

    def starve() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            over.wait(2.9)
            os.kill(pid, signal.SIGCONT)
            over.wait(0.1)

    thread = threading.Thread(target=starve)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_pgbouncer_that_gets_hardly_any_cpu_lives(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres))
    assert pod.pgbouncer is not None
    pid = pod.pgbouncer.pid
    with starved(pid):
        for _ in range(3):
            assert pod.script("liveness", str(pod.run), str(pod.port), str(pid)).wait(30) == 0


def test_both_probes_know_a_hung_pgbouncer(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres))
    assert pod.pgbouncer is not None
    scripts = {"probe": (), "liveness": (str(pod.pgbouncer.pid),)}

    def codes() -> dict[str, int]:
        return {name: pod.script(name, str(pod.run), str(pod.port), *more).wait(30) for name, more in scripts.items()}

    assert codes() == {"probe": 0, "liveness": 0}
    os.kill(pod.pgbouncer.pid, signal.SIGSTOP)
    try:
        assert codes() == {"probe": 1, "liveness": 1}
    finally:
        os.kill(pod.pgbouncer.pid, signal.SIGCONT)
    assert codes() == {"probe": 0, "liveness": 0}
