"""`spec.pod`: the parts of a pod that users can set. There is no PodTemplateSpec, so that the pods stay restricted."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pgbouncer_operator.api.access import SecretReference
from pgbouncer_operator.api.affinity import Affinity
from pgbouncer_operator.api.model import ListMap, Model
from pgbouncer_operator.api.strings import (
    Annotations,
    Integer,
    LabelKey,
    Labels,
    LabelValue,
    Quantity,
    SubdomainName,
    Text,
)

Quantities = Annotated[dict[LabelKey, Quantity], Field(max_length=8)]


class TolerationOperator(StrEnum):
    """How a toleration's key is compared."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does to pods."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Unsatisfiable(StrEnum):
    """What to do with a pod that breaks a spread constraint."""

    DO_NOT_SCHEDULE = "DoNotSchedule"
    SCHEDULE_ANYWAY = "ScheduleAnyway"


class Resources(Model):
    """CPU and memory of a container."""

    requests: Quantities | None = None
    """What the scheduler reserves, by resource name. Default: nothing if resources is set. A change rolls the pods."""
    limits: Quantities | None = None
    """Most that the container may use, by resource name. Default: no limit. PgBouncer uses at most one core, and about
    100 KiB for each user. A change rolls the pods."""


class Toleration(Model):
    """A taint that the pods tolerate."""

    key: Text | None = None
    """Key of the taint. Default: every key, with operator Exists. A change rolls the pods."""
    operator: TolerationOperator | None = None
    """Exists, or Equal, which compares value too. Default: Equal. A change rolls the pods."""
    value: LabelValue | None = None
    """Value of the taint, with operator Equal. Default: empty. A change rolls the pods."""
    effect: TaintEffect | None = None
    """NoSchedule, PreferNoSchedule or NoExecute. Default: every effect. A change rolls the pods."""
    toleration_seconds: Integer | None = None
    """Seconds the pod stays after a NoExecute taint appears. Default: for ever. A change rolls the pods."""


class TopologySpread(Model):
    """How the pods of this pool spread. The operator adds the label selector of the pool's pods."""

    max_skew: Annotated[Integer, Field(ge=1, le=1000)]
    """Largest difference in the number of pods between two domains. Required. A change rolls the pods."""
    topology_key: Annotated[LabelKey, Field(min_length=1)]
    """Node label whose values are the domains, such as topology.kubernetes.io/zone. Required. A change rolls the
    pods."""
    when_unsatisfiable: Unsatisfiable
    """DoNotSchedule or ScheduleAnyway. Required. A change rolls the pods."""
    min_domains: Annotated[Integer, Field(ge=1, le=1000)] | None = None
    """Least number of domains, for DoNotSchedule. Default: 1. A change rolls the pods."""


class SecurityContext(Model):
    """User and groups of the pods. An id that is left out is left to the image or the platform."""

    run_as_user: Annotated[Integer, Field(ge=1, le=2147483647)] | None = None
    """uid of both containers, never root. Default: the platform's or the image's. A change rolls the pods."""
    run_as_group: Annotated[Integer, Field(ge=0, le=2147483647)] | None = None
    """gid of both containers. Default: the platform's or the image's. A change rolls the pods."""
    fs_group: Annotated[Integer, Field(ge=0, le=2147483647)] | None = None
    """gid of the mounted files. Default: the platform's or none. A change rolls the pods."""


class Pod(Model):
    """The parts of the pool's pods that users can set."""

    resources: Resources = Resources(requests={"cpu": "100m", "memory": "128Mi"})
    """CPU and memory of the pgbouncer container. Default: requests of 100m and 128Mi, no limits; resources replaces
    the default as a whole. A change rolls the pods."""
    agent_resources: Resources | None = None
    """CPU and memory of the agent container. Default: requests of 10m and 48Mi, a limit of 128Mi of memory;
    agentResources replaces the default as a whole. A change rolls the pods."""
    security_context: SecurityContext | None = None
    """User and groups of the pods; {} leaves them to the platform, such as OpenShift. Default: 65532 for all. A
    change rolls the pods."""
    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] | None = None
    """Labels that a node must have, at most 32. Default: any node. A change rolls the pods."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] | None = None
    """Taints that the pods tolerate, at most 32. Default: none. A change rolls the pods."""
    topology_spread_constraints: Annotated[tuple[TopologySpread, ...], Field(max_length=8)] | None = None
    """How the pods spread over nodes and zones, at most 8. Default: over nodes, if possible. A change rolls the
    pods."""
    affinity: Affinity | None = None
    """Nodes and pods that the pods need, prefer or avoid, in Kubernetes' own fields. Default: none. A change rolls the
    pods."""
    service_account_name: SubdomainName | None = None
    """ServiceAccount of the pods; its token is not mounted. Default: the namespace's default. A change rolls the
    pods."""
    runtime_class_name: SubdomainName | None = None
    """RuntimeClass of the pods. Default: the nodes' own. A change rolls the pods."""
    priority_class_name: SubdomainName | None = None
    """PriorityClass of the pods. Default: the cluster's. A change rolls the pods."""
    labels: Labels | None = None
    """Labels for the pods besides the operator's own, at most 64. Default: none. A change rolls the pods."""
    annotations: Annotations | None = None
    """Annotations for the pods besides the operator's own, at most 64. Default: none. A change rolls the pods."""
    image_pull_secrets: Annotated[tuple[SecretReference, ...], Field(max_length=16), ListMap("name")] | None = None
    """Secrets for pulling the pool's image, at most 16. Default: the service account's. A change rolls the pods."""
