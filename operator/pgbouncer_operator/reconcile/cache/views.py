"""The few values that the operator keeps of each object. Pure.

A parsed Deployment takes 20 kB of memory and a packed one 1 kB. So children are kept packed, and unpacked to compare.
"""

import json
import zlib
from dataclasses import dataclass, field
from typing import Any

from pgbouncer_operator.reconcile.cache.endpoints import Service
from pgbouncer_operator.reconcile.cache.workloads import Reference
from pgbouncer_operator.sizing.allocation import Allocations
from pgbouncer_operator.sizing.limits import ServerLimits


@dataclass(frozen=True, slots=True)
class PoolView:
    """A ConnectionPool. Fields that the operator itself changes do not count when two views are compared."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    uid: str
    """Its UID."""
    resource_version: int = field(compare=False)
    """Version of the object."""
    generation: int
    """Number of the spec."""
    deleting: bool
    """Whether it is being deleted."""
    spec: str
    """The spec as JSON."""
    status: str = field(compare=False)
    """The status as JSON."""
    created: str = field(compare=False)
    """When it was created, RFC 3339."""
    backend: Service | None
    """The Service that the host may name; None when it cannot be one."""
    refresh: str
    """The user's annotation that asks for a read of Secrets; empty without it."""
    clients: tuple[Reference, ...] = ()
    """The client workloads that it names."""
    server: tuple[str, str] | None = None
    """Namespace and name of its PostgresServer; None without one."""
    address: str = ""
    """Host and port in one spelling (`endpoints.address`); empty without a host."""
    operator: str = ""
    """The operator that serves it, and who asks whether it does (`reconcile.ownership`); empty before the first."""
    template_version: int = 0
    """The user's annotation with the least version that the pods' template should have; 0 without it."""


@dataclass(frozen=True, slots=True)
class DeploymentProgress:
    """Where a Deployment stands: its spec, and what its controller has done about it."""

    replicas: int
    """Pods wanted."""
    template: str
    """The annotation that names the inputs and the hash of the pod template, `<inputs>.<template>`."""
    observed: bool
    """Whether the controller has seen the newest spec."""
    updated: int
    """Pods of the newest template."""
    existing: int
    """All pods."""
    refusal: str = ""
    """Why a pod may not be made, in the words of whoever refuses it, without line breaks; empty while pods may."""

    def rolls_for(self, template: str) -> bool:
        """Whether `template`, the annotation as it would be written now, has other inputs."""
        return self.template.partition(".")[0] != template.partition(".")[0]


@dataclass(frozen=True, slots=True)
class ChildView:
    """An object that belongs to a pool: ConfigMap, Service, PodDisruptionBudget or Deployment."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    uid: str
    """Its UID."""
    resource_version: int = field(compare=False)
    """Version of the object."""
    kind: str
    """Its kind."""
    pool: str
    """Name of the pool, by the label."""
    owner: str
    """UID of the owner that controls it; empty without one."""
    applied: str
    """The annotation with the hash of what was applied last; empty without it."""
    posted: bool = field(compare=False)
    """Whether fields still belong to the operator's first POST."""
    packed: bytes = field(repr=False)
    """The parts that are compared, as compressed JSON."""
    rollout: DeploymentProgress | None = None
    """Where a Deployment stands; None for other kinds."""

    def unpack(self) -> dict[str, Any]:
        """The parts of the live object that are compared."""
        unpacked: dict[str, Any] = json.loads(zlib.decompress(self.packed))
        return unpacked

    @property
    def data(self) -> dict[str, Any]:
        """The data of a ConfigMap; empty without any."""
        found: dict[str, Any] = self.unpack().get("data", {})
        return found


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod of a pool."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    uid: str
    """Its UID."""
    resource_version: int = field(compare=False)
    """Version of the object."""
    pool: str
    """Name of the pool, by the label."""
    address: str
    """The pod's IP; empty before it has one."""
    terminating: bool
    """Whether it is being deleted."""
    ready: bool
    """Whether its condition Ready is True."""
    finished: bool
    """Whether its phase is Succeeded or Failed: it serves no more."""
    config: str
    """The annotation with the hash of the configuration that it is to run; empty without it."""
    poke: str
    """The annotation that makes kubelet bring new mounts to the pod; empty without it."""
    trouble: str
    """Why it does not run, in Kubernetes' words; empty when it runs."""
    placed: bool
    """Whether it has a node."""
    reconnect: str
    """The annotation with the token of the addresses that it has to connect to; empty without it."""
    ended: bool = False
    """Whether kubelet has said that it runs nothing any more."""
    foreign: bool = False
    """Whether its controller is another one than the pool's Deployment: it has the label of the pool only."""
    template_version: int = 0
    """The version of the template that it was made of; 0 before there were versions."""


@dataclass(frozen=True, slots=True)
class SliceView:
    """An EndpointSlice: the ready addresses of a Service, or a part of them."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    uid: str
    """Its UID."""
    resource_version: int = field(compare=False)
    """Version of the object."""
    service: str
    """Name of the Service."""
    ready: tuple[str, ...]
    """Ready addresses, sorted."""


@dataclass(frozen=True, slots=True)
class ServerView:
    """A PostgresServer."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    uid: str
    """Its UID."""
    resource_version: int = field(compare=False)
    """Version of the object."""
    generation: int
    """Number of the spec."""
    deleting: bool
    """Whether it is being deleted."""
    spec: str
    """The spec as JSON."""
    status: str
    """The status as JSON."""
    allocations: Allocations
    """The allocations of its status."""
    backend: Service | None
    """The Service that the host may name; None when it cannot be one."""
    address: str
    """Host and port in one spelling (`endpoints.address`); empty without a host."""
    limits: ServerLimits | None = None
    """What PostgreSQL said last of its limits, by the status; None while unknown."""
    budget: int | None = None
    """The budget of the status, in server connections; None before the first."""
    created: str = ""
    """When it was created, RFC 3339."""
    operator: str = ""
    """As in PoolView."""

    @property
    def addresses(self) -> frozenset[str]:
        """Every host and port where its pools may hold connections: its own, and those that it may not have left."""
        former = (at for each in self.allocations.entries.values() for at, _ in each.former)
        return frozenset({self.address, self.allocations.address, *former} - {""})
