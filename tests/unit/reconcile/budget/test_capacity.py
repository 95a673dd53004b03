"""The ledger of a pool whose spec cannot be used now, or that waits for its PostgresServer."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.reconcile.looks import SEQ, decide, healthy, invalid, pod, wanted, writes

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.reconcile.memory import Missing
from pgbouncer_operator.reconcile.observed import Membership, Observed
from pgbouncer_operator.reconcile.pause import Pause
from pgbouncer_operator.reconcile.steps import Plan
from pgbouncer_operator.sizing.allocation import Entry

SERVER, OTHER = "platform/rds", "platform/other"
PENDING = Membership(OTHER, obstacle=Missing(Reason.PENDING, "It has no allocation for this pool yet."))
FULL = Membership(OTHER, Entry("web/shop", "pool-uid", 0, 0, 3))
OUT_OF_DATE = Membership(SERVER, Entry("web/shop", "pool-uid", 20, 20, 3))
FORMER = Entry("web/shop", "pool-uid", 20, 20, 4)


def waits(observed: Observed, member: Membership) -> Observed:
    """The same pods, with a ledger of SERVER's round 4, while the pool waits for `member`."""
    assert observed.ledger is not None
    grants = replace(observed.ledger.grants, server=SERVER, allocation=4, size=20)
    former = None if member.server == SERVER else FORMER
    ledger = replace(observed.ledger, grants=grants)
    return replace(observed, ledger=ledger, membership=member, former=former)


def evicted(observed: Observed, **changes: Any) -> Observed:
    """Pod b drains, and its successor c waits for a grant."""
    digest = observed.pods[0].config
    pods = (observed.pods[0], replace(observed.pods[1], terminating=True, ready=False), pod("c", digest, ready=False))
    return replace(observed, pods=pods, states={**observed.states, "c": None}, **changes)


def ledgers(found: Plan) -> list[Grants]:
    name = naming.grants_config_map("shop")
    return [Grants.from_json(each.body["data"][naming.GRANTS_KEY]) for each in found.steps if each.key[1] == name]


@pytest.mark.parametrize("member", [PENDING, FULL, OUT_OF_DATE], ids=["no allocation", "no room", "out of date"])
@pytest.mark.parametrize("waited", [0.0, 3600.0])
def test_the_successor_of_an_evicted_pod_takes_nothing_beside_the_grants_while_its_pool_waits_for_a_server(
    member: Membership, waited: float
) -> None:
    observed = evicted(waits(healthy(), member))
    found = decide(observed.remember(waiting_since=observed.now - waited))
    (grants,) = ledgers(found)
    assert (grants.static, grants.pods["c"].cap) == (0, 0)
    assert sum(max(each.cap, each.high) for uid, each in grants.pods.items() if uid != "c") == 20
    assert (grants.server, grants.allocation) == (SERVER, 4), "no round of another server is confirmed"
    assert found.requeue_after is not None


def test_a_pool_that_waits_with_all_its_pods_gets_no_write() -> None:
    observed = replace(waits(healthy(), FULL), pause=Pause(1_900_000_000, 600))
    assert writes(decide(observed)) == []


def test_a_new_pool_that_waits_gets_no_write() -> None:
    observed = replace(healthy(), children={}, pods=(), states={}, ledger=None, membership=PENDING)
    assert decide(observed).steps == ()


def test_the_look_up_of_logins_counts_as_a_database_entry_while_the_spec_cannot_be_used() -> None:
    """A pod needs a connection for each entry: a share of fewer is one that it cannot divide."""
    spec = {"authQuery": {"database": "shop", "secretRef": {"name": "look-up"}}, "serverConnections": {"max": 4}}
    observed = healthy(**spec)
    assert observed.ledger is not None
    shares = {uid: Grant(2, SEQ, 2) for uid in ("a", "b")}
    ledger = replace(observed.ledger, grants=replace(observed.ledger.grants, pods=shares, static=1, size=4))
    (grants,) = ledgers(decide(invalid(replace(observed, ledger=ledger), **spec, databases=[])))
    assert grants.static == wanted(**spec).fit.static == 2
