"""How many pods fit into a budget of server connections.

PgBouncer reads a limit of 0 as "no limit", so every database entry of every pod needs at least one connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FitRequest:
    """What a pool asks for: its budget, pods, databases in each pod, and caps by their field's path."""

    size: int
    replicas: int
    databases: int
    caps: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Fit:
    """What the budget allows.

    replicas: pods that may run. surge: 0 or 1 pods more during a roll. floor: the least a pod needs.
    static: what a pod may take unasked, so that `replicas + surge` such pods stay within the budget.
    shortage: why fewer pods run than wanted, with the field to change; None when all fit.
    """

    replicas: int
    surge: int
    floor: int
    static: int
    shortage: str | None


def fit(demand: FitRequest) -> Fit:
    """The most pods, at most the wanted ones, of which each holds one connection per database and keeps every cap."""
    floor = max(1, demand.databases)
    limits = {"serverConnections.max": demand.size // floor, **demand.caps}
    most = min(limits.values())
    replicas = min(demand.replicas, most)
    surge = 1 if replicas < most else 0
    pods = replicas + surge
    shortage = _shortage(demand, limits, floor) if replicas < demand.replicas else None
    return Fit(replicas, surge, floor, demand.size // pods if pods else 0, shortage)


def share(cap: int | None, pods: int) -> int | None:
    """One pod's part of a cap that all `pods` of a pool share, at least 1 (0 would mean unlimited)."""
    return None if cap is None else max(1, cap // max(1, pods))


def _shortage(demand: FitRequest, limits: Mapping[str, int], floor: int) -> str:
    field = min(limits, key=lambda path: (limits[path], path))
    need = demand.replicas * (floor if field == "serverConnections.max" else 1)
    have = demand.size if field == "serverConnections.max" else demand.caps[field]
    return (
        f"{demand.replicas} wanted, {limits[field]} fit: {field} is {have}, "
        f"and {demand.replicas} pods need at least {need} "
        f"(each database needs one connection in each pod). Raise {field} or lower replicas."
    )
