"""The Service that applications connect to."""

from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import ConnectionPool


def service(pool: ConnectionPool) -> dict[str, Any]:
    """A Service with the name of the pool, which selects all its pods.

    A draining pod is serving and terminating. kube-proxy sends it connections only if no other pod is ready.
    https://kep.k8s.io/1669
    """
    wanted = pool.spec.service
    spec: dict[str, Any] = {
        "type": wanted.type.value,
        "selector": {naming.LABEL_POOL: pool.metadata.name},
        "ports": [
            {
                "name": naming.PORT_NAME_PGBOUNCER,
                "port": wanted.port,
                "targetPort": naming.PORT_NAME_PGBOUNCER,
                "protocol": "TCP",
                "appProtocol": "postgresql",
            }
        ],
    }
    if wanted.load_balancer_class:
        spec["loadBalancerClass"] = wanted.load_balancer_class
    if wanted.load_balancer_source_ranges:
        spec["loadBalancerSourceRanges"] = list(wanted.load_balancer_source_ranges)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": naming.service(pool.metadata.name),
            "labels": dict(wanted.labels or {}),
            "annotations": dict(wanted.annotations or {}),
        },
        "spec": spec,
    }
