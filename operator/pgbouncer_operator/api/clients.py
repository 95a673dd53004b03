"""`spec.clients`: limits of clients, the certificate for them, and the workloads that run them."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pgbouncer_operator.api.model import Model, Rule
from pgbouncer_operator.api.strings import Integer, LabelKey, LabelValue, ObjectName


class ClientTlsMode(StrEnum):
    """The modes of PgBouncer's client_tls_sslmode that need no certificate of the client."""

    REQUIRE = "require"
    PREFER = "prefer"


class ClientTls(Model):
    """TLS between clients and PgBouncer."""

    secret_name: ObjectName
    """Secret of type kubernetes.io/tls in the pool's namespace, with tls.crt and tls.key, and best with ca.crt, as
    cert-manager writes it. Required. A new name rolls the pods; new content is reloaded."""
    mode: ClientTlsMode = ClientTlsMode.REQUIRE
    """require, or prefer to admit clients without TLS too. Default: require. PgBouncer's client_tls_sslmode. A
    change is reloaded, for new connections."""


class WorkloadKind(StrEnum):
    """Kinds of workloads that may run clients."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    REPLICA_SET = "ReplicaSet"


class WorkloadSelector(Model):
    """Workloads by their own labels."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(min_length=1, max_length=16)]
    """Labels that a workload must have, all of them. Required. A change takes effect at once."""


class Workload(Model):
    """One workload, or several by their labels, whose pods are clients of the pool."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.name) != has(self.selector)",
            broken=lambda workload: "" if (workload.name is None) == (workload.selector is None) else None,
            message="a workload needs either name or selector: keep one of them",
        ),
    )

    kind: WorkloadKind | None = None
    """Deployment, StatefulSet or ReplicaSet. Default: Deployment with name, all three with selector. A change takes
    effect at once."""
    name: ObjectName | None = None
    """Name of the workload, in the pool's namespace. Default: none, with selector. A change takes effect at once."""
    selector: WorkloadSelector | None = None
    """Workloads of the pool's namespace by their labels; ReplicaSets of a Deployment do not count. Default: none,
    with name. A change takes effect at once."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of workloads that the entry may refer to."""
        if self.kind is not None:
            return (self.kind.value,)
        return (WorkloadKind.DEPLOYMENT.value,) if self.name else tuple(each.value for each in WorkloadKind)

    def __str__(self) -> str:
        """The workload as messages name it."""
        what = self.kind.value if self.kind else "Deployment" if self.name else "workload"
        if self.name or self.selector is None:
            return f"{what} {self.name}"
        return f"{what} with " + ", ".join(f"{key}={value}" for key, value in self.selector.match_labels.items())


class Clients(Model):
    """Limits of clients, their certificate and their workloads."""

    max_per_pod: Annotated[Integer, Field(ge=1, le=100_000)] = 2000
    """Most client connections that one pod accepts. Default: 2000. It is not split over the pods, because a Service may
    send most clients to one pod. PgBouncer's max_client_conn. A change is reloaded."""
    tls: ClientTls | None = None
    """The certificate that PgBouncer presents to clients. Default: none, clients connect in plain text. Given or taken
    away, the pods roll."""
    workloads: Annotated[tuple[Workload, ...], Field(max_length=16)] | None = None
    """Workloads whose pods are clients, at most 16. The number of server connections can follow their replicas, see
    serverConnections.sizing. Default: none. A change takes effect at once."""
