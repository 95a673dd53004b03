"""The lease of leader election, as a Lease of coordination.k8s.io."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pgbouncer_operator.engine.leader import Lease, LeaseConflict, LeaseLost
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.kube.resources import LEASES
from pgbouncer_operator.kube.transport import Object


class KubeLeaseStore:
    """Stores one lease in the API server. Implements engine.leader.LeaseStore."""

    def __init__(self, kube: Kube, namespace: str, name: str, wall_clock: Callable[[], datetime]) -> None:
        """wall_clock: returns the time in UTC, which is written for people and never compared."""
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._wall_clock = wall_clock
        self._acquired: tuple[str, str] = ("", "")  # holder, acquireTime
        self._newest = 0  # highest version of the lease that was read or written

    async def get(self) -> Lease | None:
        """Read the lease; None if there is none. Raises ApiError, and LeaseLost if the lease is older than before.

        Versions grow with every write. An older lease means that the API server's data was restored from a backup:
        whoever leads keeps caches that would take no change until the versions have caught up.
        """
        try:
            body = await self._kube.get(LEASES, self._namespace, self._name)
        except errors.NotFound:
            return None
        lease, newest = self._noted(body), self._newest
        if int(lease.version) < newest:
            self._newest = int(lease.version)
            raise LeaseLost(f"The lease has version {lease.version} after {newest}: the cluster's data was restored.")
        spec = body.get("spec") or {}
        self._acquired = (spec.get("holderIdentity") or "", spec.get("acquireTime") or "")
        return lease

    async def create(self, lease: Lease) -> Lease:
        """Create the lease. Raises LeaseConflict if there is one, or ApiError."""
        try:
            return self._noted(await self._kube.create(LEASES, self._body(lease)))
        except errors.AlreadyExists as error:
            raise LeaseConflict(str(error)) from None

    async def update(self, lease: Lease) -> Lease:
        """Replace the lease of version `lease.version`. Raises LeaseConflict if it has changed, or ApiError."""
        try:
            return self._noted(await self._kube.replace(LEASES, self._body(lease)))
        except (errors.Conflict, errors.NotFound) as error:
            raise LeaseConflict(str(error)) from None

    def _noted(self, body: Object) -> Lease:
        lease = _lease(body)
        self._newest = max(self._newest, int(lease.version))
        return lease

    def _body(self, lease: Lease) -> Object:
        now = self._wall_clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if self._acquired[0] != lease.holder:
            self._acquired = (lease.holder, now)
        metadata: dict[str, Any] = {"name": self._name, "namespace": self._namespace}
        if lease.version:
            metadata["resourceVersion"] = lease.version
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": {
                "holderIdentity": lease.holder,
                "leaseDurationSeconds": int(lease.duration),
                "acquireTime": self._acquired[1] or now,
                "renewTime": now,
                "leaseTransitions": lease.transitions,
            },
        }


def _lease(body: Object) -> Lease:
    spec = body.get("spec") or {}
    return Lease(
        holder=spec.get("holderIdentity") or "",
        duration=float(spec.get("leaseDurationSeconds") or 15),
        transitions=int(spec.get("leaseTransitions") or 0),
        version=body["metadata"]["resourceVersion"],
    )
