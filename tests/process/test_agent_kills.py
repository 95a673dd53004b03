"""The agent dies again and again, in the middle of everything: no client notices, and what was asked comes about.

PGBOUNCER_TEST_WORKER_KILLS and PGBOUNCER_TEST_AGENT_KILLS make it a long run: 100 and 5.
PGBOUNCER_TEST_SEED repeats one.
"""

import os
import random
import signal

from tests.campaign import length
from tests.process.agentcase import intent, shown
from tests.process.agentload import Load
from tests.process.agentpod import Pod, children, eventually
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

pytestmark = PROCESS
WORKER_KILLS = length("PGBOUNCER_TEST_WORKER_KILLS", short=6, full=100)
AGENT_KILLS = length("PGBOUNCER_TEST_AGENT_KILLS", short=2, full=5)
SEED = int(os.environ.get("PGBOUNCER_TEST_SEED", "1"))


def worker(pod: Pod) -> int:
    """The worker that runs now."""
    assert pod.agent is not None
    found: list[int] = eventually("a worker runs", lambda: children(pod.agent.pid))  # type: ignore[union-attr]
    return found[0]


def test_a_worker_killed_during_load_and_changes_costs_no_client_anything(pod: Pod, postgres: Postgres) -> None:
    chance = random.Random(SEED)
    pod.start()
    pod.runs(intent(postgres))
    assert pod.pgbouncer is not None
    with Load(pod, clients=12) as load:
        for number in range(WORKER_KILLS):
            pod.mount_intent(intent(postgres, query_timeout=100 + number))
            pod.mount_grant(chance.randint(2, 8))
            if chance.random() < 0.5:
                pod.mount_pod(reconnect=str(number))
            victim, done = worker(pod), load.done
            least = done + chance.randint(0, 8)
            eventually("the load has gone on a little", lambda least=least: load.done >= least)
            os.kill(victim, signal.SIGKILL)
            eventually("it is gone", lambda victim=victim: victim != worker(pod))
        seq = pod.mount_grant(5)
        wanted = pod.mount_intent(intent(postgres, query_timeout=7))
        state = pod.runs(wanted, seq)
        assert (state["cap"], shown(pod, "query_timeout")) == (5, "7")
        eventually("nothing is wrong", lambda: pod.state()["problems"] == [])
        assert pod.state()["open"] <= 5
        done = load.done
        eventually("the load goes on", lambda: load.done > done + 50)
    assert load.failures == []
    assert not list(pod.run.glob("trial-*"))
    assert pod.pgbouncer.poll() is None


def test_the_whole_agent_killed_during_load_and_changes_costs_no_client_anything(pod: Pod, postgres: Postgres) -> None:
    pod.start()
    pod.runs(intent(postgres))
    assert pod.agent is not None
    with Load(pod, clients=12) as load:
        for number in range(AGENT_KILLS):
            first = worker(pod)
            pod.mount_intent(intent(postgres, query_timeout=100 + number))
            os.kill(pod.agent.pid, signal.SIGKILL)
            os.killpg(first, signal.SIGKILL)  # a container ends with everything in it, a proof that runs too
            pod.agent.wait(10)
            pod.start_agent()
            pod.runs(intent(postgres, query_timeout=100 + number))
        done = load.done
        eventually("the load goes on", lambda: load.done > done + 50)
    assert load.failures == []
