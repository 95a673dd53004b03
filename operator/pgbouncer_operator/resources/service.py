"""The Service that applications connect to."""

from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.api.service import Service


def service(pool: ConnectionPool) -> dict[str, Any]:
    """A Service with the name of the pool, which selects all its pods.

    A draining pod is serving and terminating. kube-proxy sends it connections only if no other pod is ready.
    https://kep.k8s.io/1669
    """
    wanted = pool.spec.service
    port = {
        "name": naming.PORT_NAME_PGBOUNCER,
        "port": wanted.port,
        "targetPort": naming.PORT_NAME_PGBOUNCER,
        "protocol": "TCP",
        "appProtocol": "postgresql",
    }
    if wanted.node_port:
        port["nodePort"] = wanted.node_port
    spec: dict[str, Any] = {
        "type": wanted.type.value,
        "selector": {naming.LABEL_POOL: pool.metadata.name},
        "ports": [port],
        **_optional(wanted),
    }
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


def _optional(wanted: Service) -> dict[str, Any]:
    """The fields of the Service that only some pools have. Of an absent one the API server has its own default."""
    lists = {
        "loadBalancerSourceRanges": wanted.load_balancer_source_ranges,
        "ipFamilies": wanted.ip_families,
    }
    texts = {
        "loadBalancerClass": wanted.load_balancer_class,
        "externalTrafficPolicy": wanted.external_traffic_policy,
        "trafficDistribution": wanted.traffic_distribution,
        "ipFamilyPolicy": wanted.ip_family_policy,
        "sessionAffinity": wanted.session_affinity,
    }
    found: dict[str, Any] = {name: [str(each) for each in values] for name, values in lists.items() if values}
    return found | {name: str(value) for name, value in texts.items() if value}
