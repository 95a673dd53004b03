"""`spec.service`: the Service that applications connect to."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from pgbouncer_operator.api.model import Model, Rule, matches
from pgbouncer_operator.api.strings import QUALIFIED_NAME, Annotations, Cidr, Host, Integer, Labels
from pgbouncer_operator.naming import PGBOUNCER_PORT


class ServiceType(StrEnum):
    """Types of Services that a pool may have."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


LoadBalancerClass = Annotated[
    str,
    StringConstraints(min_length=1, max_length=317),
    matches(QUALIFIED_NAME, "must be a name such as example.com/internal"),
]


def _misplaced(service: "Service") -> str | None:
    is_set = service.load_balancer_class or service.load_balancer_source_ranges is not None
    return "" if is_set and service.type is not ServiceType.LOAD_BALANCER else None


class Service(Model):
    """The Service in front of a pool's pods."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel='self.type == "LoadBalancer" || !(has(self.loadBalancerClass) || has(self.loadBalancerSourceRanges))',
            broken=_misplaced,
            message="loadBalancerClass and loadBalancerSourceRanges need type LoadBalancer: set it, or remove them",
        ),
    )

    type: ServiceType = ServiceType.CLUSTER_IP
    """ClusterIP, NodePort or LoadBalancer; the last two need spec.clients.tls with mode require. Default: ClusterIP. A
    change is applied at once."""
    port: Annotated[Integer, Field(ge=1, le=65535)] = PGBOUNCER_PORT
    """TCP port of the Service. Default: 6432. The pods always listen on 6432. A change is applied at once and cuts
    no connection, but applications must use the new port."""
    annotations: Annotations | None = None
    """Annotations for the Service, at most 64. Default: none. A change is applied at once."""
    labels: Labels | None = None
    """Labels for the Service besides the operator's own, at most 64. Default: none. A change is applied at once."""
    external_host: Host | None = None
    """Host that connection Secrets have instead of the Service's, for applications outside the cluster. Default: the
    Service's DNS name. A change is applied at once."""
    load_balancer_class: LoadBalancerClass | None = None
    """Class of the load balancer, for type LoadBalancer. Default: the cluster's. Applied at once; Kubernetes lets it
    change only together with type."""
    load_balancer_source_ranges: Annotated[tuple[Cidr, ...], Field(max_length=64)] | None = None
    """Networks that may connect, such as 10.0.0.0/8, at most 64, for type LoadBalancer. Default: every network. A
    change is applied at once."""
