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


class ExternalTraffic(StrEnum):
    """Which nodes send traffic from outside to the pods."""

    CLUSTER = "Cluster"
    LOCAL = "Local"


class TrafficDistribution(StrEnum):
    """Which pods a client inside the cluster prefers."""

    SAME_ZONE = "PreferSameZone"
    SAME_NODE = "PreferSameNode"
    CLOSE = "PreferClose"


class IpFamilyPolicy(StrEnum):
    """Of how many IP families a Service has an address."""

    SINGLE = "SingleStack"
    PREFER_DUAL = "PreferDualStack"
    REQUIRE_DUAL = "RequireDualStack"


class IpFamily(StrEnum):
    """A family of IP addresses."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"


class SessionAffinity(StrEnum):
    """Whether the clients of one address stay on one pod."""

    NONE = "None"
    CLIENT_IP = "ClientIP"


LoadBalancerClass = Annotated[
    str,
    StringConstraints(min_length=1, max_length=317),
    matches(QUALIFIED_NAME, "must be a name such as example.com/internal"),
]


def _misplaced(service: "Service") -> str | None:
    is_set = service.load_balancer_class or service.load_balancer_source_ranges is not None
    return "" if is_set and service.type is not ServiceType.LOAD_BALANCER else None


def _internal(service: "Service") -> str | None:
    is_set = service.node_port is not None or service.external_traffic_policy is not None
    return "" if is_set and service.type is ServiceType.CLUSTER_IP else None


def _wrong_families(service: "Service") -> str | None:
    if service.ip_families is None:
        return None
    dual = service.ip_family_policy not in {None, IpFamilyPolicy.SINGLE}
    different = len(set(service.ip_families)) == len(service.ip_families)
    # With a dual stack the API server completes a list of one, which would then never be what the spec says.
    return None if different and len(service.ip_families) == (2 if dual else 1) else ""


class Service(Model):
    """The Service in front of a pool's pods."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel='self.type == "LoadBalancer" || !(has(self.loadBalancerClass) || has(self.loadBalancerSourceRanges))',
            broken=_misplaced,
            message="loadBalancerClass and loadBalancerSourceRanges need type LoadBalancer: set it, or remove them",
        ),
        Rule(
            cel='self.type != "ClusterIP" || !(has(self.nodePort) || has(self.externalTrafficPolicy))',
            broken=_internal,
            message="nodePort and externalTrafficPolicy need type NodePort or LoadBalancer: set it, or remove them",
        ),
        Rule(
            cel="!has(self.ipFamilies) || "
            '(has(self.ipFamilyPolicy) && self.ipFamilyPolicy != "SingleStack" '
            "? self.ipFamilies.size() == 2 && self.ipFamilies[0] != self.ipFamilies[1] : self.ipFamilies.size() == 1)",
            broken=_wrong_families,
            message="ipFamilies needs both families with a dual-stack ipFamilyPolicy, else one: correct or remove it",
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
    node_port: Annotated[Integer, Field(ge=1, le=65535)] | None = None
    """Port on every node, for type NodePort or LoadBalancer. Default: the cluster's choice. Applied at once; without
    the field the Service keeps its port."""
    external_traffic_policy: ExternalTraffic | None = None
    """Local keeps clients' addresses and uses only nodes that have a pod, for type NodePort or LoadBalancer. Default:
    Cluster. A change is applied at once."""
    traffic_distribution: TrafficDistribution | None = None
    """Which pods clients in the cluster get first; PreferClose is the old name of PreferSameZone. Default: any. A
    change is applied at once."""
    ip_family_policy: IpFamilyPolicy | None = None
    """Whether the Service has an address of one or of both IP families. Default: SingleStack. Applied at once; without
    the field the Service keeps its addresses."""
    ip_families: Annotated[tuple[IpFamily, ...], Field(min_length=1, max_length=2)] | None = None
    """Families of the addresses, in order. Default: the cluster's. Applied at once; Kubernetes never changes the first
    of an existing Service."""
    session_affinity: SessionAffinity | None = None
    """ClientIP keeps the clients of one address on one pod, for 3 hours. Default: None. A change is applied at once."""
