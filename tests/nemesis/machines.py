"""Events by machines: processes that die or hang, and operators that are away or two. Each function is one kind."""

import contextlib
import random
import signal
from collections.abc import Iterator

from tests.cluster import operators, servers
from tests.cluster.turmoil import WORKER, uids
from tests.localcluster.deploy import CHART, Site, image_values
from tests.localcluster.execution import run
from tests.localcluster.waiting import let_pass, until
from tests.nemesis import people
from tests.nemesis.scene import POOLS, Scene

from pgbouncer_operator import naming

ABSENT_SECONDS = 15.0
HANGING_AGENT, HANGING_SERVER, HANGING_LEADER = 8.0, 3.0, 20.0  # seconds
SECOND = "second-operator"
SECOND_SECONDS = 30.0


def kill_leader(scene: Scene, chance: random.Random) -> str:
    """SIGKILL. The successor waits until the lease has run out."""
    name = operators.wait_leader(scene.here.site)
    return f"{name}, {operators.kill(scene.here.site, name)} processes"


def hang_leader(scene: Scene, chance: random.Random) -> str:
    """The leader is suspended for longer than its lease lasts, and goes on beside its successor."""
    name = operators.wait_leader(scene.here.site)
    uid = [each["metadata"]["uid"] for each in operators.pods(scene.here.site) if each["metadata"]["name"] == name]
    with _stopped(uid, "pgbouncer_operator"):
        let_pass(HANGING_LEADER)
    return name


def operator_absent(scene: Scene, chance: random.Random) -> str:
    with operators.absent(scene.here.site):
        let_pass(ABSENT_SECONDS)
    return f"{ABSENT_SECONDS:.0f} s"


def operator_absent_in_roll(scene: Scene, chance: random.Random) -> str:
    with operators.absent(scene.here.site):
        pool = people.restart(scene, chance)
        let_pass(ABSENT_SECONDS)
    return pool


def operator_absent_in_eviction(scene: Scene, chance: random.Random) -> str:
    with operators.absent(scene.here.site):
        name = people.evict_pod(scene, chance)
        let_pass(ABSENT_SECONDS)
    return name


def second_operator(scene: Scene, chance: random.Random) -> str:
    """Another release in another namespace, with the same settings."""
    return _second(scene)


def second_operator_with_other_settings(scene: Scene, chance: random.Random) -> str:
    return _second(scene, "endpointDelaySeconds=7")


def _second(scene: Scene, *values: str) -> str:
    site = scene.here.site
    chosen = [
        *image_values("image", site.reference("operator")),
        *image_values("poolImage", site.reference("pool")),
        "crds.enabled=false",
        "rbac.aggregateClusterRoles=false",
        "replicaCount=1",
        *values,
    ]
    settings = [word for value in chosen for word in ("--set", value)]
    target = [SECOND, str(CHART), "--namespace", SECOND, "--create-namespace"]
    site.kubectl("delete", "lease", naming.LEASE_NAME, "--namespace", SECOND, "--ignore-not-found")
    try:
        run(["helm", "upgrade", "--install", *target, *settings, "--wait", "--timeout", "2m"], environment=site.env)
        until(lambda: "" if _leads(site) else "a second leader", SECOND_SECONDS)
        before = _everyone(scene)
        let_pass(SECOND_SECONDS)
        after = _everyone(scene)
    finally:
        run(["helm", "uninstall", SECOND, "--namespace", SECOND, "--wait"], environment=site.env)
    return f"{len(after - before)} pods were made while both led"


def _leads(site: Site) -> bool:
    """Whether the second operator holds the lease of its namespace."""
    lease = site.kubectl("get", "lease", "--namespace", SECOND, "--output=jsonpath={.items[*].spec.holderIdentity}")
    return lease.startswith(SECOND)


def _everyone(scene: Scene) -> set[str]:
    """The uids of all pods of the pools that are not terminating."""
    return {uid for pool in POOLS for uid in uids(scene.here, pool)}


def kill_agent(scene: Scene, chance: random.Random) -> str:
    """SIGKILL the agent's worker in one pod."""
    return _killed(scene, chance, WORKER)


def kill_agent_container(scene: Scene, chance: random.Random) -> str:
    """SIGKILL the first process of the agent's container in one pod: the container starts again."""
    return _killed(scene, chance, "agent")


def _killed(scene: Scene, chance: random.Random, program: str) -> str:
    metadata = scene.pod(chance, scene.pool(chance))["metadata"]
    return f"{metadata['name']}, {operators.kill_process([metadata['uid']], program)} processes"


def hang_agent(scene: Scene, chance: random.Random) -> str:
    """The agent of one pod answers nobody and reads nothing for some seconds."""
    metadata = scene.pod(chance, scene.pool(chance))["metadata"]
    with _stopped([metadata["uid"]], WORKER):
        let_pass(HANGING_AGENT)
    return str(metadata["name"])


def hang_server(scene: Scene, chance: random.Random) -> str:
    """PostgreSQL stops for some seconds, with all its sessions."""
    with _stopped([servers.pod(scene.here, "postgres")["metadata"]["uid"]], "postgres"):
        let_pass(HANGING_SERVER)
    return f"{HANGING_SERVER:.0f} s"


@contextlib.contextmanager
def _stopped(uids: list[str], program: str) -> Iterator[None]:
    """The processes of these pods that run the program are suspended while the block runs."""
    try:
        operators.signal_process(uids, program, signal.SIGSTOP)
        yield
    finally:
        operators.signal_process(uids, program, signal.SIGCONT)
