"""One look at a PostgresServer: who asks for how much, what each gets, and what is told of it. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import ConditionType
from pgbouncer_operator.api.connection_pool import ConnectionPool, InvalidSpec
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.api.tuning import SizingMode
from pgbouncer_operator.protocol.grants import Grants, GrantsError
from pgbouncer_operator.reconcile.cache.views import ChildView, PoolView, ServerView
from pgbouncer_operator.reconcile.server.membership import most
from pgbouncer_operator.resources.desired import room
from pgbouncer_operator.sizing.allocation import Allocations, Applicant, Portion, Terms, allocate, held


@dataclass(frozen=True, slots=True)
class PoolNeeds:
    """What a pool's spec and status ask for. None: the spec cannot be read, so it keeps what it has."""

    floor: int
    want: int


@dataclass(frozen=True, slots=True)
class PoolHolding:
    """What a pool's ledger says. most: its pods may hold, None while unknown. server, confirmed: where it is from."""

    most: int | None
    server: str = ""
    confirmed: int = 0


@dataclass(frozen=True, slots=True)
class MemberPool:
    """A pool that refers to the server."""

    view: PoolView
    asked: PoolNeeds | None
    holding: PoolHolding
    welcome: bool


def asks(spec: ConnectionPool | InvalidSpec, status: str, server: PostgresServer) -> PoolNeeds | None:
    """What the pool wants: its size, as it was told last, or its maximum; nothing while it wants no pods."""
    if isinstance(spec, InvalidSpec):
        return None
    maximum = most(spec, server)
    if not spec.spec.replicas:
        return PoolNeeds(0, 0)
    fitting = room(spec, maximum)
    told = json.loads(status).get("serverConnections") or {}
    fixed = spec.spec.server_connections.sizing.mode is SizingMode.FIXED
    size = maximum if fixed else told.get("size", maximum)
    return PoolNeeds(fitting.floor * (fitting.replicas + fitting.surge), min(maximum, size))


def holds(ledger: ChildView | None, pods: frozenset[str]) -> PoolHolding:
    """What the pods may hold by their ledger; without one that can be read nobody knows, but for a pool without pods.

    pods: uids of all pods of the pool that may run.
    """
    if ledger is None:
        return PoolHolding(None if pods else 0)
    try:
        grants = Grants.from_json(ledger.unpack().get("data", {}).get(naming.GRANTS_KEY, ""))
    except GrantsError:
        return PoolHolding(None)
    return PoolHolding(held(grants, pods), grants.server, grants.allocation)


def reaches(status: str) -> bool:
    """Whether a pool's status says nothing of a server that does not answer."""
    conditions = json.loads(status).get("conditions") or ()
    return not any(each["type"] == ConditionType.BACKEND_REACHABLE and each["status"] == "False" for each in conditions)


def shared_out(
    view: ServerView, server: PostgresServer, members: Sequence[MemberPool], emptied: frozenset[str]
) -> Allocations:
    """The next round. emptied: names of pools with an allocation, of which neither pod nor Deployment is left."""
    name, before = f"{view.namespace}/{view.name}", view.allocations
    budget = server.spec.connections.budget
    if budget is None:
        return before
    applicants = []
    for each in sorted(members, key=lambda member: (member.view.created, member.view.namespace, member.view.name)):
        pool = f"{each.view.namespace}/{each.view.name}"
        entry = before.entries.get(pool)
        if not each.welcome and entry is None:
            continue
        standing = entry.connections if entry else 0
        asked = each.asked or PoolNeeds(standing, standing)
        ours = each.holding.server == name
        applicants.append(
            Applicant(
                pool=pool,
                uid=each.view.uid,
                group=each.view.namespace,
                floor=asked.floor,
                want=asked.want,
                held=each.holding.most,
                confirmed=each.holding.confirmed if ours else 0,
                welcome=each.welcome,
            )
        )
    portions = {each.group: _portion(server, each.group) for each in applicants}
    return allocate(before, applicants, Terms(budget, portions, emptied))


def _portion(server: PostgresServer, namespace: str) -> Portion:
    share = server.spec.share_of(namespace)
    return Portion(share.guaranteed, share.max, share.weight)
