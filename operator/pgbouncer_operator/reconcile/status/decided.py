"""What a reconcile decides about a pool before it reports. Pure."""

from dataclasses import dataclass

from pgbouncer_operator.reconcile.budget.capacity import Capacity
from pgbouncer_operator.reconcile.budget.size import PoolSize
from pgbouncer_operator.reconcile.rollout.canary import Rollout
from pgbouncer_operator.resources.desired import Desired


@dataclass(frozen=True, slots=True)
class Decided:
    """The decisions about a pool whose spec can be used; every check reads them beside the observation."""

    wanted: Desired
    """The objects of the spec."""
    capacity: Capacity
    """This round of the ledger and the replicas that there is room for."""
    size: PoolSize
    """How many server connections the pool may hold now."""
    rollout: Rollout | None = None
    """The configuration that each pod is to run; None while not one pod fits and every pod keeps what it has."""
