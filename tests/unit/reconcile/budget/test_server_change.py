"""A pool that leaves a PostgresServer: what its pods may hold while some may still be there."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.reconcile import looks
from tests.unit.reconcile.servers_made import NAME

from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.reconcile.budget.server_change import decide, watched
from pgbouncer_operator.reconcile.observed import Ledger, Membership, Observed
from pgbouncer_operator.sizing.allocation import Entry

AWAY: dict[str, Any] = {"backend": {"host": "elsewhere"}, "serverConnections": {"max": 40}}
THERE = looks.wanted(**AWAY).intent.digest


def leaving(connections: int = 20, **spec: Any) -> Observed:
    """Two pods that hold 20 by the word of a server which the spec has just ceased to name."""
    observed = looks.healthy()
    assert observed.ledger is not None
    ledger = Ledger(replace(observed.ledger.grants, server=NAME, allocation=4), 9)
    former = Entry("web/shop", "pool-uid", connections, connections, 4)
    return looks.respecified(replace(observed, ledger=ledger, former=former), **{**AWAY, **spec})


def current(observed: Observed) -> Observed:
    """The ConfigMap has been written."""
    child = looks.live(looks.wanted(**AWAY).config_map)
    return replace(observed, children={**observed.children, (child.kind, child.name): child})


def after(observed: Observed, **spec: Any) -> tuple[Grants, int]:
    made = decide(observed, looks.wanted(**{**AWAY, **spec}), 40)
    return made.round.grants, sum(max(each.cap, each.high) for each in made.round.grants.pods.values())


MOVED = current(looks.saying(looks.saying(leaving(), "a", digest=THERE), "b", digest=THERE))
STAYS: list[tuple[str, Observed]] = [
    ("the spec was changed just now", leaving()),
    ("the ConfigMap is written, and pods are on their way", current(leaving())),
    ("one pod has gone", looks.saying(MOVED, "b", digest=looks.wanted().intent.digest)),
    ("one pod does not answer", replace(MOVED, states={**MOVED.states, "b": None})),
    ("those born now would still begin there", replace(MOVED, children=leaving().children)),
]


@pytest.mark.parametrize(("sentence", "observed"), STAYS, ids=[sentence for sentence, _ in STAYS])
def test_nobody_grows_while_a_pod_may_be_at_the_former_server(sentence: str, observed: Observed) -> None:
    grants, held = after(observed)
    assert (grants.server, grants.allocation) == (NAME, 4)
    assert held <= 20


@pytest.mark.parametrize(
    "observed",
    [
        MOVED,
        looks.saying(MOVED, "b", digest=""),
        replace(MOVED, former=None),
        replace(leaving(), pods=(), states={}),
    ],
    ids=["all pods are there", "a pod runs nothing yet", "the former server is no more", "there are no pods"],
)
def test_a_pool_that_has_left_is_free_of_the_former_server(observed: Observed) -> None:
    assert after(observed)[0].server == ""


def test_a_pool_that_has_left_grows() -> None:
    assert after(MOVED)[1] == 40


def test_what_the_former_server_took_back_is_given_back_on_the_way() -> None:
    grants, _ = after(leaving(connections=6))
    assert sum(each.cap for each in grants.pods.values()) == 6


def test_where_no_pod_of_the_new_spec_would_fit_at_the_former_server_the_ledger_stands_still() -> None:
    observed = leaving(connections=0)
    assert observed.ledger is not None
    made = decide(observed, looks.wanted(**AWAY), 40)
    assert made.round.grants is observed.ledger.grants
    assert (made.replicas, made.may_roll) == (2, False)


HERE = "elsewhere:5432"
EDITED = Membership(NAME, Entry("web/shop", "pool-uid", 40, 40, 5, (("main:5432", 20),)), leaves_for=HERE)


def reached(*looks_at: tuple[float, dict[str, Any], dict[str, Any]]) -> str:
    """What the ledger says after looks at these seconds, with what both pods said. Both run the new host."""
    observed, grants = replace(MOVED, former=None, membership=EDITED), Grants(1, 0, {})
    for now, a, b in looks_at:
        seen = looks.saying(looks.saying(observed, "a", **{"digest": THERE, **a}), "b", **{"digest": THERE, **b})
        observed = watched(replace(seen, now=now), looks.wanted(**AWAY))
        grants = after(observed)[0]
    return grants.reached


BUSY, IDLE = {"busy": 1}, {"busy": 0}


@pytest.mark.parametrize(
    ("sentence", "looks_at", "found"),
    [
        ("both were idle later", [(0.0, BUSY, BUSY), (5.0, IDLE, IDLE)], HERE),
        ("one after the other", [(0.0, BUSY, BUSY), (5.0, IDLE, BUSY), (10.0, BUSY, IDLE)], HERE),
        ("figures may be older than the configuration", [(0.0, IDLE, IDLE), (2.0, IDLE, IDLE)], ""),
        ("one is always busy", [(0.0, IDLE, BUSY), (5.0, IDLE, BUSY), (90.0, IDLE, BUSY)], ""),
        ("the figures are old", [(0.0, IDLE, IDLE), (5.0, IDLE, {"busy": 0, "age": 9})], ""),
        ("one runs the former host", [(0.0, IDLE, {"digest": "former"}), (5.0, IDLE, {"digest": "former"})], ""),
    ],
)
def test_a_pool_has_left_the_former_host_of_its_server_once_each_pod_was_idle(
    sentence: str, looks_at: list[tuple[float, dict[str, Any], dict[str, Any]]], found: str
) -> None:
    assert reached(*looks_at) == found, sentence


def test_a_pool_does_not_grow_while_a_pod_may_run_the_former_host_of_its_server() -> None:
    stays = looks.saying(replace(MOVED, former=None, membership=EDITED), "b", digest=looks.wanted().intent.digest)
    assert after(stays)[1] <= 20
    assert after(replace(MOVED, former=None, membership=EDITED))[1] == 40
