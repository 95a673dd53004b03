from dataclasses import replace
from typing import Any

import pytest
from tests.unit.reconcile.looks import healthy, live, pod, state

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.reconcile.budget.ledger import MOST, ledger
from pgbouncer_operator.reconcile.cache.views import ChildView
from pgbouncer_operator.resources.desired import dress
from pgbouncer_operator.resources.grants import grants_config_map

GRANTS = Grants(5, 6, {"a": Grant(10, 5, 10)})
PODS = (pod("a", "h"), pod("b", "h"))
SAYING = {"a": state("a", "h", seq=7, cap=9, open=11), "b": None}


def child(**data: str) -> ChildView:
    pool = healthy().spec
    assert isinstance(pool, ConnectionPool)
    body: dict[str, Any] = dress(pool, grants_config_map("shop", GRANTS))
    return live({**body, "data": data or body["data"]})


def test_the_ledger_is_read_as_it_was_written() -> None:
    found = ledger(child(), PODS, SAYING)
    assert found is not None
    assert (found.grants, found.resource_version) == (GRANTS, 9)


def test_before_the_first_ledger_there_is_none() -> None:
    fresh = tuple(replace(each, poke="") for each in PODS)
    assert ledger(None, fresh, {"a": None, "b": state("b", "", seq=0, cap=0, open=0)}) is None


@pytest.mark.parametrize("spoiled", ["", "{}", '{"protocol": 1, "seq": 1}', "nonsense"])
def test_a_spoiled_ledger_is_unknown_and_not_empty(spoiled: str) -> None:
    found = ledger(child(**{naming.GRANTS_KEY: spoiled}), PODS, SAYING)
    assert found is not None
    assert found.grants.pods["a"] == Grant(9, 8, 11), "its own word, and above what it has seen"
    assert found.grants.pods["b"].high == MOST, "a silent pod may hold anything"
    assert found.resource_version == 9


def test_a_deleted_ledger_is_recovered_from_what_pods_say_and_were_told() -> None:
    found = ledger(None, PODS, {"a": None, "b": None})
    assert found is not None
    assert found.grants.seq == 6, "above the round they were told of"
    assert {grant.high for grant in found.grants.pods.values()} == {MOST}
    assert found.resource_version == 0


def test_a_silent_pod_is_told_nothing_by_a_recovered_ledger() -> None:
    found = ledger(None, PODS, SAYING)
    assert found is not None
    assert found.grants.pods["b"].cap == 0, "it may hold nothing yet: a cap would let it grow"


def test_a_pod_that_has_not_read_what_it_was_told_of_may_hold_anything() -> None:
    found = ledger(None, PODS, {"a": state("a", "h", seq=4, cap=2, open=2), "b": None})
    assert found is not None
    assert found.grants.pods["a"] == Grant(0, 6, MOST), "it was told of 5, and may take yet what is said there"
