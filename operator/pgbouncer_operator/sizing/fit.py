"""How many pods fit into a size. Pure.

PgBouncer reads a limit of 0 as "no limit" (https://www.pgbouncer.org/config.html), so every database entry of every pod
needs at least one connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pgbouncer_operator.wording import needs


@dataclass(frozen=True, slots=True)
class FitRequest:
    """What a pool asks for."""

    size: int
    """Server connections of the pool."""
    replicas: int
    """Pods wanted."""
    databases: int
    """Database entries in each pod."""
    caps: Mapping[str, int]
    """Limits of the pool that all pods share, in server connections, by their field's path."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What the size allows."""

    replicas: int
    """Pods that may run."""
    surge: int
    """Pods that a roll may add: 0 or 1."""
    floor: int
    """Server connections that a pod needs at least."""
    static: int
    """Server connections that a pod may take without a grant: `replicas + surge` such pods stay within the size."""
    shortage: str | None
    """Why fewer pods run than wanted, with the field to change; None when all fit."""


def fit(demand: FitRequest) -> Fit:
    """The most pods, up to the wanted number, of which each holds one connection per database within every cap."""
    floor = max(1, demand.databases)
    limits = {"serverConnections.max": demand.size // floor, **demand.caps}
    most = min(limits.values())
    replicas = min(demand.replicas, most)
    surge = 1 if replicas < most else 0
    pods = replicas + surge
    shortage = _shortage(demand, limits, floor) if replicas < demand.replicas else None
    return Fit(replicas, surge, floor, demand.size // pods if pods else 0, shortage)


def per_pod(limit: int | None, pods: int) -> int | None:
    """One pod's part of a limit that all `pods` of a pool divide: at least 1, because 0 would mean "no limit"."""
    return None if limit is None else max(1, limit // max(1, pods))


def _shortage(demand: FitRequest, limits: Mapping[str, int], floor: int) -> str:
    """The sentence about the limit that fits the fewest pods."""
    field = min(limits, key=lambda path: (limits[path], path))
    need = demand.replicas * (floor if field == "serverConnections.max" else 1)
    have = demand.size if field == "serverConnections.max" else demand.caps[field]
    return (
        f"{demand.replicas} wanted, {limits[field]} fit: {field} is {have}, "
        f"and {needs(demand.replicas, 'pod')} at least {need} "
        f"(each database needs one connection in each pod). Raise {field} or lower replicas."
    )
