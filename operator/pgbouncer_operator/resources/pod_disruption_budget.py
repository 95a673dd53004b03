"""The PodDisruptionBudget: evictions take one pod at a time."""

from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import ConnectionPool


def pod_disruption_budget(pool: ConnectionPool) -> dict[str, Any]:
    """At most one pod may be evicted at a time. With `minAvailable: 1` a pool of one pod could never be evicted.

    Pods that are not Ready may always be evicted, because they serve no clients. https://kep.k8s.io/3017
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": naming.pod_disruption_budget(pool.metadata.name)},
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": {naming.LABEL_POOL: pool.metadata.name}},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
