"""A node that starts containers with 1,024 open files, as containerd 2 does: a pod serves more clients than that."""

import json

from tests.cluster import programs
from tests.cluster.pools import Namespace, pool
from tests.localcluster import backend
from tests.localcluster.containerd import SOFT_FILES

from pgbouncer_operator import naming
from pgbouncer_operator.resources.deployment import PYTHON

POOL = "files"
CLIENTS = SOFT_FILES + 76
LIMITS = "print(open('/proc/1/limits').read())"
# The clients' own container has the same limit.
STAY = f"""
import os, resource, time, psycopg
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
clients = [psycopg.connect(os.environ["URL"], autocommit=True, connect_timeout=20) for _ in range({CLIENTS})]
print("served", sum(each.execute("select 1").fetchone()[0] for each in clients), flush=True)
time.sleep(3600)
"""


def test_a_pod_serves_more_clients_than_its_containers_soft_limit_of_open_files(here: Namespace) -> None:
    here.apply(pool(POOL, replicas=1))
    here.wait_ready(POOL)
    (found,) = here.pods(POOL)
    name, lives = found["metadata"]["name"], here.lives(POOL)

    def run(container: str, *command: str) -> str:
        return here.kubectl("exec", name, f"--container={container}", "--", *command)

    limits = run(naming.CONTAINER_AGENT, PYTHON, "-c", LIMITS)  # the agent leaves its limit as it is
    soft = next(line.split()[3] for line in limits.splitlines() if line.startswith("Max open files"))
    assert soft == str(SOFT_FILES) or backend.choose() != "bare", "with a higher limit this test shows nothing"
    here.apply(programs.pod(here, "many", ("python3", "-c", STAY), f"{POOL}-connection", {"URL": "DATABASE_URL"}))
    served = f"served {CLIENTS}"
    here.wait(lambda: served in here.kubectl("logs", "many"), f"{served} clients", seconds=180)
    here.wait(lambda: json.loads(here.state(found))["clients"] == CLIENTS, "an agent that counts them")
    assert json.loads(here.state(found))["problems"] == []
    (container,) = (each for each in found["spec"]["containers"] if each["name"] == naming.CONTAINER_PGBOUNCER)
    for probe in ("readinessProbe", "livenessProbe"):
        run(naming.CONTAINER_PGBOUNCER, *container[probe]["exec"]["command"])  # Problem when it fails
    assert here.lives(POOL) == lives
    here.kubectl("delete", "pod", "many", "--wait=false", "--grace-period=0", "--force")
    here.delete(POOL)
