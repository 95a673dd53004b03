"""The Service that applications connect to."""

from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import ConnectionPool


def service(pool: ConnectionPool) -> dict[str, Any]:
    """A Service named like the pool, in front of all its pods.

    A draining pod is "serving, terminating": kube-proxy still uses it where nothing else is left (KEP-1669).
    """
    wanted = pool.spec.service
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": naming.service(pool.metadata.name),
            "labels": dict(wanted.labels or {}),
            "annotations": dict(wanted.annotations or {}),
        },
        "spec": {
            "type": "ClusterIP",
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
        },
    }
