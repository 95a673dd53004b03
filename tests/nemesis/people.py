"""Events by people and their tools: what is done to pods and children by hand. Each function is one kind of event."""

import concurrent.futures
import json
import random
import time

from tests.cluster import budgets, nodes
from tests.cluster.pools import Object
from tests.localcluster.problem import Problem
from tests.localcluster.waiting import until
from tests.nemesis.scene import Scene

from pgbouncer_operator import naming

EVICTION_SECONDS = 60.0
ORPHAN_SECONDS = 45.0  # longer than what a pod that is gone stays charged for


def _name(pod: Object) -> str:
    name: str = pod["metadata"]["name"]
    return name


def _selector(pool: str) -> str:
    return f"--selector={naming.LABEL_POOL}={pool}"


def scale_up(scene: Scene, chance: random.Random) -> str:
    return _scale(scene, scene.pool(chance), 5)


def scale_down(scene: Scene, chance: random.Random) -> str:
    return _scale(scene, scene.pool(chance), 1)


def scale_to_nothing(scene: Scene, chance: random.Random) -> str:
    return _scale(scene, scene.pool(chance), 0)


def _scale(scene: Scene, pool: str, replicas: int) -> str:
    scene.here.kubectl("scale", f"deployment/{naming.deployment(pool)}", f"--replicas={replicas}")
    return pool


def restart(scene: Scene, chance: random.Random) -> str:
    pool = scene.pool(chance)
    scene.here.kubectl("rollout", "restart", f"deployment/{naming.deployment(pool)}")
    return pool


def edit_template(scene: Scene, chance: random.Random) -> str:
    pool = scene.pool(chance)
    template = {"metadata": {"annotations": {"example.com/edited": str(next(scene.turns))}}}
    patch = json.dumps({"spec": {"template": template}})
    scene.here.kubectl("patch", f"deployment/{naming.deployment(pool)}", "--type=merge", "--patch", patch)
    return pool


def _delete(scene: Scene, kind: str, name: str, *options: str) -> str:
    scene.here.kubectl("delete", kind, name, "--wait=false", *options)
    return name


def delete_deployment(scene: Scene, chance: random.Random) -> str:
    return _delete(scene, "deployment", naming.deployment(scene.pool(chance)))


def delete_replica_sets(scene: Scene, chance: random.Random) -> str:
    pool = scene.pool(chance)
    scene.here.kubectl("delete", "replicaset", _selector(pool), "--wait=false")
    return pool


def delete_config_map(scene: Scene, chance: random.Random) -> str:
    return _delete(scene, "configmap", naming.config_map(scene.pool(chance)))


def delete_ledger(scene: Scene, chance: random.Random) -> str:
    return _delete(scene, "configmap", naming.grants_config_map(scene.pool(chance)))


def delete_disruption_budget(scene: Scene, chance: random.Random) -> str:
    return _delete(scene, "poddisruptionbudget", naming.pod_disruption_budget(scene.pool(chance)))


def delete_connection_secret(scene: Scene, chance: random.Random) -> str:
    return _delete(scene, "secret", naming.connection_secret(scene.pool(chance)))


def delete_service(scene: Scene, chance: random.Random) -> str:
    return _delete(scene, "service", naming.service(scene.pool(chance)))


def clear_pool_status(scene: Scene, chance: random.Random) -> str:
    pool = scene.pool(chance)
    _clear(scene, naming.PLURAL, pool)
    return pool


def clear_server_status(scene: Scene, chance: random.Random) -> str:
    _clear(scene, naming.SERVER_PLURAL, budgets.SERVER)
    return budgets.SERVER


def _clear(scene: Scene, plural: str, name: str) -> None:
    """Remove the status, as a restored backup does."""
    patch = json.dumps([{"op": "remove", "path": "/status"}])
    scene.here.kubectl("patch", plural, name, "--subresource=status", "--type=json", "--patch", patch)


def remove_label(scene: Scene, chance: random.Random) -> str:
    """The pod goes on with its clients. It is deleted later, as its owner does who has found it."""
    pool = scene.pool(chance)
    name = _name(scene.pod(chance, pool))
    scene.here.kubectl("label", "pod", name, f"{naming.LABEL_POOL}-")
    scene.later(ORPHAN_SECONDS, lambda: scene.here.kubectl("delete", "pod", name, "--wait=false") and None)
    return name


def delete_pod(scene: Scene, chance: random.Random) -> str:
    return _delete(scene, "pod", _name(scene.pod(chance, scene.pool(chance))))


def delete_pods(scene: Scene, chance: random.Random) -> str:
    pool = scene.pool(chance)
    scene.here.kubectl("delete", "pod", _selector(pool), "--wait=false")
    return pool


def shorten_grace(scene: Scene, chance: random.Random) -> str:
    seconds = chance.choice((5, 15))
    return (
        _delete(scene, "pod", _name(scene.pod(chance, scene.pool(chance))), f"--grace-period={seconds}")
        + f" {seconds} s"
    )


def delete_by_force(scene: Scene, chance: random.Random) -> str:
    return _delete(scene, "pod", _name(scene.pod(chance, scene.pool(chance))), "--grace-period=0", "--force")


def evict(scene: Scene, pod: str) -> str:
    """Evict one pod; what the API server says, "" when it does it."""
    metadata = {"name": pod, "namespace": scene.here.name}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{scene.here.name}/pods/{pod}/eviction"
    try:
        scene.here.kubectl("create", "--raw", path, "-f", "-", text=json.dumps(body))
    except Problem as problem:
        return str(problem)
    return ""


def evict_pod(scene: Scene, chance: random.Random) -> str:
    return evict_one(scene, _name(scene.pod(chance, scene.pool(chance))))


def evict_one(scene: Scene, name: str) -> str:
    """Evict one pod; its name, and what the API server says when it refuses."""
    refusal = evict(scene, name)
    return f"{name} {'refused by its PodDisruptionBudget' if 'disruption budget' in refusal else refusal}".strip()


def evict_only_pod(scene: Scene, chance: random.Random) -> str:
    """A pool is made to have one pod, and that one is evicted."""
    pool = scene.pool(chance)
    scene.here.patch(pool, replicas=1)
    scene.here.wait(lambda: len(scene.here.pods(pool)) == 1, f"one pod of {pool}")
    return f"{evict_one(scene, _name(scene.here.pods(pool)[0]))}, the only pod of {pool}"


def evict_pods(scene: Scene, chance: random.Random) -> str:
    """All pods of a pool at once. Each is tried again while the PodDisruptionBudget refuses, as a drain does."""
    pool, began = scene.pool(chance), time.monotonic()
    names = [_name(each) for each in scene.here.pods(pool)]

    def away(name: str) -> None:
        def refusal() -> str:
            return "" if "disruption budget" not in (said := evict(scene, name)) else said

        until(refusal, EVICTION_SECONDS, 0.5)

    with concurrent.futures.ThreadPoolExecutor(len(names) or 1) as together:
        list(together.map(away, names))
    return f"{pool}: {len(names)} pods in {time.monotonic() - began:.0f} s"


def drain_node(scene: Scene, chance: random.Random) -> str:
    """Drain the second node, and let pods start there again."""
    assert scene.node is not None
    there = [each for each in scene.here.all("pods") if each["spec"].get("nodeName") == scene.node]
    try:
        nodes.ended(nodes.drain(scene.here, scene.node))
    finally:
        nodes.only(scene.here, nodes.FIRST, scene.node)
    return f"{len(there)} pods"
