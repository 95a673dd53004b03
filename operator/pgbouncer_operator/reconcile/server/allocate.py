"""One round of a PostgresServer: what each pool needs, what it holds, and what it gets. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import ConditionType
from pgbouncer_operator.api.connection_pool import ConnectionPool, InvalidSpec
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.api.tuning import SizingMode
from pgbouncer_operator.protocol.grants import Grants, GrantsError
from pgbouncer_operator.reconcile.cache.keys import name_of
from pgbouncer_operator.reconcile.cache.views import ChildView, PoolView, ServerView
from pgbouncer_operator.reconcile.server.membership import most
from pgbouncer_operator.resources.desired import room
from pgbouncer_operator.sizing.allocation import Allocations, Applicant, Entry, Terms, allocate
from pgbouncer_operator.sizing.fairness import Portion
from pgbouncer_operator.sizing.ledger import held
from pgbouncer_operator.sizing.relocation import relocate


@dataclass(frozen=True, slots=True)
class PoolNeeds:
    """What a pool's spec and status ask for, in server connections."""

    floor: int
    """What the wanted pods, and one more during a roll, need at least."""
    want: int
    """What the pool would use."""


@dataclass(frozen=True, slots=True)
class PoolHolding:
    """What a pool's ledger says."""

    most: int | None
    """Most server connections that its pods may hold; None while unknown."""
    server: str = ""
    """The PostgresServer that the ledger names, as `namespace/name`; empty without one."""
    confirmed: int = 0
    """The round of that server's allocation that the ledger was made from."""
    largest: int = 0
    """The largest grant of one pod in the ledger."""
    reached: str = ""
    """The host and port at which all of its connections are, by the ledger."""


@dataclass(frozen=True, slots=True)
class MemberPool:
    """A pool that refers to the server."""

    view: PoolView
    """The pool."""
    asked: PoolNeeds | None
    """What it needs; None while its spec cannot be read: then it keeps what it has."""
    holding: PoolHolding
    """What its ledger says."""
    welcome: bool
    """Whether the server allows the pool's namespace, and gives out the connections of its host."""


def asks(spec: ConnectionPool | InvalidSpec, status: str, server: PostgresServer) -> PoolNeeds | None:
    """What the pool needs: its size by the last status, or else its maximum. Nothing while it wants no pods."""
    if isinstance(spec, InvalidSpec):
        return None
    maximum = most(spec, server)
    if not spec.spec.replicas:
        return PoolNeeds(0, 0)
    fitting = room(spec, maximum)
    figures = json.loads(status).get("serverConnections") or {}
    fixed = spec.spec.server_connections.sizing.mode is SizingMode.FIXED
    wanted = maximum if fixed else figures.get("size", maximum)
    return PoolNeeds(fitting.floor * (fitting.replicas + fitting.surge), min(maximum, wanted))


def holds(ledger: ChildView | None, pods: frozenset[str]) -> PoolHolding:
    """What the pods may hold by their ledger.

    Without a ledger that can be read this is unknown, unless the pool has no pods. pods: UIDs of all pods of the pool
    that may run.
    """
    if ledger is None:
        return PoolHolding(None if pods else 0)
    try:
        grants = Grants.from_json(ledger.data.get(naming.GRANTS_KEY, ""))
    except GrantsError:
        return PoolHolding(None)
    largest = max((each.cap for each in grants.pods.values()), default=0)
    return PoolHolding(held(grants, pods), grants.server, grants.allocation, largest, grants.reached)


def reaches(status: str) -> bool:
    """Whether a pool's status does not say that the server is unreachable."""
    conditions = json.loads(status).get("conditions") or ()
    return not any(each["type"] == ConditionType.BACKEND_REACHABLE and each["status"] == "False" for each in conditions)


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left of former allocations, by pool as `namespace/name`."""

    emptied: frozenset[str]
    """Pools with an allocation, without a pod or Deployment."""
    elsewhere: Mapping[str, Entry] = field(default_factory=dict)
    """As in `Terms`."""


def shared_out(
    view: ServerView, server: PostgresServer, members: Sequence[MemberPool], remains: Remains, gives: bool = True
) -> Allocations:
    """The next round. gives: whether the server gives out the connections of its present host and port."""
    name, before = name_of(view), view.allocations
    budget = server.spec.connections.budget
    if budget is None:
        return before
    applicants = []
    for each in sorted(members, key=lambda member: (member.view.created, member.view.namespace, member.view.name)):
        pool = name_of(each.view)
        entry = before.entries.get(pool)
        if not each.welcome and entry is None:
            continue
        allocation = entry.connections if entry else 0
        needs = each.asked or PoolNeeds(allocation, allocation)
        ledger_is_ours = each.holding.server == name
        applicants.append(
            Applicant(
                pool=pool,
                uid=each.view.uid,
                group=each.view.namespace,
                floor=needs.floor,
                want=needs.want,
                held=each.holding.most,
                confirmed=each.holding.confirmed if ledger_is_ours else 0,
                welcome=each.welcome,
                largest=each.holding.largest,
                reached=each.holding.reached,
            )
        )
    portions = {each.group: _portion(server, each.group) for each in applicants}
    terms = Terms(budget, portions, remains.emptied, remains.elsewhere)
    return relocate(before, allocate(before, applicants, terms), view.address, terms, gives)


def _portion(server: PostgresServer, namespace: str) -> Portion:
    share = server.spec.share_of(namespace)
    return Portion(share.guaranteed, share.max, share.weight)
