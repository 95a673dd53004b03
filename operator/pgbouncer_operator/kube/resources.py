"""The kinds that the operator reads or writes, as rows of one table."""

from dataclasses import dataclass
from urllib.parse import quote

from pgbouncer_operator import naming


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of the API."""

    api_version: str
    """As in manifests: `v1`, or group and version."""
    kind: str
    plural: str
    """The name in URLs and in RBAC rules."""
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of an object, or of the collection if `name` is empty; an empty `namespace` means all of them."""
        parts = ["apis" if "/" in self.api_version else "api", self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/" + "/".join(parts)


CONNECTION_POOLS = Resource(naming.API_VERSION, naming.KIND, naming.PLURAL)
POSTGRES_SERVERS = Resource(naming.API_VERSION, naming.SERVER_KIND, naming.SERVER_PLURAL)
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
STATEFUL_SETS = Resource("apps/v1", "StatefulSet", "statefulsets")
REPLICA_SETS = Resource("apps/v1", "ReplicaSet", "replicasets")
HORIZONTAL_POD_AUTOSCALERS = Resource("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
POD_DISRUPTION_BUDGETS = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
SECRETS = Resource("v1", "Secret", "secrets")
SERVICES = Resource("v1", "Service", "services")
PODS = Resource("v1", "Pod", "pods")
EVENTS = Resource("v1", "Event", "events")
NAMESPACES = Resource("v1", "Namespace", "namespaces", namespaced=False)
ENDPOINT_SLICES = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)

ALL = (
    CONNECTION_POOLS,
    POSTGRES_SERVERS,
    DEPLOYMENTS,
    STATEFUL_SETS,
    REPLICA_SETS,
    HORIZONTAL_POD_AUTOSCALERS,
    POD_DISRUPTION_BUDGETS,
    CONFIG_MAPS,
    SECRETS,
    SERVICES,
    PODS,
    EVENTS,
    NAMESPACES,
    ENDPOINT_SLICES,
    LEASES,
    CUSTOM_RESOURCE_DEFINITIONS,
)


def of(api_version: str, kind: str) -> Resource:
    """The row of an apiVersion and a kind. Raises KeyError for a kind that is not in the table."""
    for resource in ALL:
        if (resource.api_version, resource.kind) == (api_version, kind):
            return resource
    raise KeyError(f"{api_version} {kind}: add the kind to kube/resources.py")
