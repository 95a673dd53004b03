"""Watches a cluster for what was worse for one pod and reaches another."""

from typing import Any

from tests.property.cluster_model import Cluster
from tests.property.pod_model import BROKEN

from pgbouncer_operator import naming
from pgbouncer_operator.resources.desired import digest_of


class Watcher:
    """Holds the promise of the canary: what is worse for one pod is told to no second one, and never becomes current.

    Unless no pod serves any more: then nobody is left who could know.
    """

    def __init__(self) -> None:
        self.worse: set[str] = set()
        self.seen = 0

    def watch(self, cluster: Cluster, seed: int) -> None:
        """Look at the cluster after something has happened."""
        body = cluster.objects.get(("ConfigMap", naming.config_map("shop")))
        living = [pod for pod in cluster.pods if not pod.terminating]
        if body is None or "data" not in body or not any(pod.ready for pod in living):
            self.worse.clear()
            return
        candidate = digest_of(body["data"].get(naming.CANDIDATE_KEY, ""))
        self.worse &= {candidate, _current(body)}
        assert _current(body) not in self.worse, f"seed {seed}: what was worse for a pod became current"
        well = any(pod.ready and pod.host == "postgres" and pod.digest != candidate for pod in living)
        refused = {pod.refuses for pod in living}
        broken = {pod.digest for pod in living if well and pod.host == BROKEN}
        self.worse |= (refused | broken) & ({candidate} - {""})
        self.seen += bool(self.worse)
        for digest in self.worse:
            assert sum(pod.told == digest for pod in living) < 2, f"seed {seed}: told to another pod"


def _current(body: dict[str, Any]) -> str:
    return digest_of(body["data"][naming.INTENT_KEY])
