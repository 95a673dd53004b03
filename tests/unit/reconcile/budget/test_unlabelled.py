"""Which pods without labels are asked and told to give back, and how."""

from dataclasses import replace
from typing import Any, cast

import pytest
from tests.unit.reconcile.budget.test_lost_pods import POOL, body, ledger, without
from tests.unit.reconcile.looks import SEQ, decide, healthy, pod, pool, settled, state

from pgbouncer_operator import naming
from pgbouncer_operator.kube import resources
from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.cache import projections
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache, project
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.reconcile.lost_pods import LostPods
from pgbouncer_operator.reconcile.memory import LostPod, Presence
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pool.agents import Agents
from pgbouncer_operator.reconcile.pool.observe import Observer
from pgbouncer_operator.reconcile.steps import Plan, Step


class Api:
    """An API server with one pod."""

    def __init__(self, pod: dict[str, Any]) -> None:
        self.pod = pod

    async def get(self, *_: object) -> dict[str, Any]:
        return self.pod


def owned(name: str) -> dict[str, Any]:
    return {"ownerReferences": [{"kind": "ReplicaSet", "name": name, "uid": "r", "controller": True}]}


@pytest.mark.parametrize(
    ("metadata", "asked"),
    [
        ({"labels": {}}, True),
        ({"labels": {}, **owned("shop-pgbouncer-7d9")}, True),
        ({"labels": {naming.LABEL_POOL: "quarantine"}}, True),
        ({"labels": {naming.LABEL_POOL: "shop"}}, False),
        ({"labels": {}, **owned("web-5f4")}, False),
    ],
    ids=["let go", "not let go yet", "another label", "the pool's label", "of another controller"],
)
async def test_only_a_pod_of_the_pool_that_lost_the_pools_label_is_asked(metadata: dict[str, Any], asked: bool) -> None:
    found = body("a", running={})
    found["metadata"] |= metadata
    lost = await LostPods().ask(cast(Kube, Api(found)), POOL, {"a": "a"}, 100.0)
    assert lost["a"].presence is Presence.EXISTS
    assert (lost["a"].unlabelled is not None) is asked
    assert not asked or cast(PodView, lost["a"].unlabelled).pool == "shop"


class Asking:
    """Agents that note who is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, pods: list[PodView]) -> dict[str, None]:
        self.asked += [each.uid for each in pods]
        return dict.fromkeys(self.asked)


@pytest.mark.parametrize(("label", "asked"), [("", ["b"]), ("quarantine", ["b"]), ("other", [])])
async def test_a_pod_with_the_label_of_another_pool_is_left_to_that_pool(label: str, asked: list[str]) -> None:
    world, agents = ClusterCache(), Asking()
    for name in ("shop", "other"):
        named = pool()
        named["metadata"]["name"] = name
        world.pools.put(projections.pool(named))
    if label:
        relabelled = body("b", running={})
        relabelled["metadata"]["labels"] = {naming.LABEL_POOL: label}
        world.put(project(resources.PODS, relabelled))
    observer = Observer(cast(Kube, None), cast(Agents, agents), world, lambda: 1.0, str, False)
    view = projections.pod(body("b", running={}), "shop")
    await observer._unlabelled({"b": LostPod("b", Presence.EXISTS, 1.0, unlabelled=view)})
    assert agents.asked == asked


def look(answer: AgentState | None, **memory: Any) -> Observed:
    """Pod b has lost the pool's label. Its object was read some seconds ago."""
    observed = without(settled(healthy()), "b")
    view = pod("b", observed.pods[0].config)
    lost = {"b": LostPod("shop-b", Presence.EXISTS, observed.now, unlabelled=view)}
    return replace(observed, lost=lost, unlabelled_states={"b": answer}).remember(**memory)


def patches(found: Plan) -> list[Step]:
    return [each for each in found.steps if each.key == ("Pod", "shop-b")]


def test_an_unlabelled_pod_is_poked_without_a_version_and_keeps_its_configuration() -> None:
    observed = look(state("b", healthy().pods[1].config))
    found = decide(observed)
    assert (ledger(found).pods["b"].cap, ledger(found).pods["b"].high) == (1, 10)
    (patch,) = patches(found)
    assert patch.subresource == "status"
    assert patch.body["metadata"] == {
        "namespace": "web",
        "name": "shop-b",
        "uid": "b",
        "annotations": {naming.ANNOTATION_POKE: f"{ledger(found).seq}--0"},
    }
    again = replace(observed, memory=replace(observed.memory, poked=found.memory.poked))
    assert not patches(decide(again)), "it is poked once, although the pod that was read has the former annotation"


def test_an_unlabelled_pod_that_does_not_answer_is_not_poked() -> None:
    found = decide(look(None))
    assert (ledger(found).pods["b"].cap, ledger(found).pods["b"].high) == (1, 10)
    assert not patches(found)


def test_a_successor_gets_what_an_unlabelled_pod_confirms_to_have_given_back() -> None:
    digest = healthy().pods[1].config
    observed = look(state("b", digest))
    told = ledger(decide(observed))
    assert observed.ledger is not None
    observed = replace(observed, ledger=replace(observed.ledger, grants=told))
    unconfirmed = decide(replace(observed, unlabelled_states={"b": state("b", digest, seq=SEQ, cap=1, open=1)}))
    assert not [each for each in unconfirmed.steps if each.key[1] == naming.grants_config_map("shop")]
    states = {"a": state("a", digest, seq=told.seq, cap=told.pods["a"].cap, open=1)}
    confirmed = {"b": state("b", digest, seq=told.seq, cap=1, open=1)}
    found = ledger(decide(replace(observed, states=states, unlabelled_states=confirmed)))
    assert sum(each.cap for each in found.pods.values()) > sum(each.cap for each in told.pods.values())
    assert found.pods["b"].high == 1
