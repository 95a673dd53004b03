"""Which looks lead to tombstones, and which pods are known to have ended."""

from dataclasses import replace
from typing import Any, cast

import pytest
from tests.unit.reconcile.looks import condition, decide, healthy, pod, pool, settled

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import ConditionType
from pgbouncer_operator.kube import errors, resources
from pgbouncer_operator.kube.client import Kube, Listing, Selection
from pgbouncer_operator.pgbouncer.session import OUTLIVES
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.reconcile.cache import projections, views
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache, project
from pgbouncer_operator.reconcile.lost_pods import LostPods
from pgbouncer_operator.reconcile.memory import ASK_AGAIN, LostPod, Memory, Presence
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pool.agents import Agents
from pgbouncer_operator.reconcile.pool.observe import Observer
from pgbouncer_operator.reconcile.server.limits_poller import LimitsPoller
from pgbouncer_operator.reconcile.server.reconcile import ServerReconciler
from pgbouncer_operator.reconcile.steps import Plan

POOL = ("web", "shop")


def without(observed: Observed, uid: str, **changes: Any) -> Observed:
    """The same look, but that pod's object is gone."""
    pods = tuple(each for each in observed.pods if each.uid != uid)
    states = {each: state for each, state in observed.states.items() if each != uid}
    return replace(observed, pods=pods, states=states, **changes)


def ledger(found: Plan) -> Grants:
    name = naming.grants_config_map("shop")
    return next(Grants.from_json(each.body["data"][naming.GRANTS_KEY]) for each in found.steps if each.key[1] == name)


def test_a_pod_that_was_seen_to_end_is_dropped_and_one_that_was_not_is_kept() -> None:
    assert "b" not in ledger(decide(without(healthy(), "b", ended=frozenset({"b"})))).pods
    observed = healthy()
    assert ledger(decide(without(observed, "b"))).pods["b"].gone == observed.unix


def test_there_is_another_look_when_the_tombstone_is_due_and_the_pool_does_not_rest_before() -> None:
    observed = settled(without(healthy(replicas=1), "b"))
    found = decide(observed)
    assert not found.at_rest
    assert found.requeue_after is not None
    assert found.requeue_after <= OUTLIVES + 1


def test_a_pod_of_a_lost_node_is_charged_although_it_is_said_to_have_failed() -> None:
    observed = healthy()
    lost = replace(pod("b", observed.pods[1].config), finished=True, ready=False)
    kept = ledger(decide(replace(observed, pods=(observed.pods[0], lost), states={**observed.states, "b": None}))).pods
    assert (kept["b"].high, kept["b"].gone) == (10, 0)
    ended = replace(lost, ended=True)
    assert (
        "b"
        not in ledger(
            decide(replace(observed, pods=(observed.pods[0], ended), states={**observed.states, "b": None}))
        ).pods
    )


def test_a_pool_that_lacks_pods_says_what_is_kept() -> None:
    told = condition(without(settled(healthy()), "b"), ConditionType.READY)[2]
    assert told == (
        "1 of 2 pods are ready. Server connections reserved for pods that disappeared: 10, "
        f"for up to {OUTLIVES} s, because PostgreSQL may still count their sessions."
    )


def body(uid: str, node: str = "one", **state: Any) -> dict[str, Any]:
    metadata = {"namespace": "web", "name": uid, "uid": uid, "resourceVersion": "7"}
    metadata["labels"] = {naming.LABEL_POOL: "shop"}  # type: ignore[assignment]
    containers = [{"name": "pgbouncer", "state": state}]
    phase = "Failed" if "terminated" in state else "Running"
    return {
        "metadata": metadata,
        "spec": {"nodeName": node},
        "status": {"phase": phase, "containerStatuses": containers},
    }


def test_the_last_news_of_a_pod_tell_whether_it_has_ended() -> None:
    world = ClusterCache()
    for each in (body("ended", terminated={}), body("runs", running={}), body("unplaced", node="", waiting={})):
        view = project(resources.PODS, each)
        world.put(view)
        world.remove(view)
    assert world.ended_of(POOL, {"ended", "runs", "unplaced"}) == {"ended", "unplaced"}


def test_a_pod_that_lost_its_label_before_it_had_a_node_counts_again_when_it_has_it_back() -> None:
    world = ClusterCache()
    pending, labelled = body("b", node="", waiting={}), body("b", running={})
    labelled["metadata"]["resourceVersion"] = "8"
    view, back = project(resources.PODS, pending), project(resources.PODS, labelled)
    world.put(view)
    assert world.remove(view)
    assert world.put(back)
    assert (world.pods.find(POOL), world.ended_of(POOL, {"b"})) == ((back,), frozenset())
    assert not world.remove(view), "a late event"
    assert (world.pods.find(POOL), world.lost_of(POOL, {"b"})) == ((back,), {})


def test_what_the_ledger_knows_no_more_is_forgotten() -> None:
    world = ClusterCache()
    world.remove(project(resources.PODS, body("ended", terminated={})))
    assert world.ended_of(POOL, {"another"}) == frozenset()
    assert not world.ended


class Asking:
    """Asks pods that are gone by the time when they have answered."""

    def __init__(self, world: ClusterCache) -> None:
        self.world = world

    async def ask(self, pods: list[views.PodView]) -> dict[str, None]:
        for each in pods:
            self.world.remove(project(resources.PODS, body(each.uid, terminated={})))
        return {each.uid: None for each in pods}


async def test_a_pod_that_ends_in_the_first_look_at_it_gets_no_entry_that_nobody_could_explain() -> None:
    world = ClusterCache()
    world.slices.allowed = False
    world.put(projections.pool(pool()))
    world.put(project(resources.PODS, body("newborn", running={})))
    observer = Observer(
        cast(Kube, None), cast(Agents, Asking(world)), world, lambda: 1.0, lambda: "2026-01-01T00:00:00Z", False
    )
    observed = await observer.look(POOL, Memory())
    assert observed is not None
    assert ([each.uid for each in observed.pods], observed.ended) == (["newborn"], {"newborn"})
    assert all(each.key[1] != naming.grants_config_map("shop") for each in decide(observed).steps)
    await observer.look(POOL, Memory())
    assert not world.ended


def test_a_server_remembers_each_lost_pod_for_as_long_as_its_sessions_may_last() -> None:
    now, world = [0.0], ClusterCache()
    servers = ServerReconciler(cast(Kube, None), world, lambda: now[0], lambda: "", cast(LimitsPoller, None))
    assert not servers._remembered(POOL)
    world.lost[POOL] = {"a": "shop-a"}
    assert servers._remembered(POOL), "nobody has asked for it yet"
    servers._lost[POOL] = {"a": LostPod("shop-a", Presence.GONE, 0.0)}
    assert servers._remembered(POOL)
    now[0] = OUTLIVES - 1.0
    world.lost[POOL]["b"] = "shop-b"
    servers._lost[POOL] = {**servers._lost[POOL], "b": LostPod("shop-b", Presence.EXISTS, now[0])}
    now[0] += 1000.0
    assert servers._remembered(POOL), "it exists"
    servers._lost[POOL] = {**servers._lost[POOL], "b": LostPod("shop-b", Presence.GONE, now[0])}
    now[0] += OUTLIVES - 0.1
    assert servers._remembered(POOL)
    now[0] += 0.1
    assert not servers._remembered(POOL)
    assert (world.lost, servers._lost) == ({}, {})


class Answers:
    """An API server that has one pod, or fails."""

    def __init__(self, uid: str = "", error: errors.ApiError | None = None, **state: Any) -> None:
        self.uid, self.error, self.state, self.reads = uid, error, state, 0

    async def get(self, _: object, namespace: str, name: str) -> dict[str, Any]:
        self.reads += 1
        if self.error is not None:
            raise self.error
        if not self.uid:
            raise errors.NotFound("none", 404)
        return body(self.uid, **self.state)

    async def list(self, _: object, selection: Selection) -> Listing:
        self.reads += 1
        if self.error is not None:
            raise self.error
        assert not selection.labels, "the pod may have lost them"
        return Listing([body("neighbour", **RUNS), *([body(self.uid, **self.state)] if self.uid else [])], 7)


RUNS: dict[str, Any] = {"running": {}}


@pytest.mark.parametrize(
    ("api", "presence"),
    [
        (Answers("a", **RUNS), Presence.EXISTS),
        (Answers("a", terminated={}), Presence.ENDED),
        (Answers("later", **RUNS), Presence.GONE),
        (Answers(), Presence.GONE),
        (Answers(error=errors.Unavailable("503", 503)), Presence.UNKNOWN),
        (Answers(error=errors.Forbidden("no right", 403)), Presence.UNKNOWN),
    ],
    ids=["runs", "ended", "another of its name", "gone", "no answer", "no right"],
)
async def test_a_lost_pod_is_asked_for_by_name_and_uid(api: Answers, presence: Presence) -> None:
    lost, kube = LostPods(), cast(Kube, api)
    first = await lost.ask(kube, POOL, {"a": "shop-a"}, 100.0)
    assert first["a"].presence is presence
    await lost.ask(kube, POOL, {"a": "shop-a"}, 101.0)
    assert api.reads == 1
    again = await lost.ask(kube, POOL, {"a": "shop-a"}, 100.0 + ASK_AGAIN)
    assert api.reads == (1 if first["a"].over else 2), "what is gone does not come back"
    assert again["a"].at == (100.0 if first["a"].over else 100.0 + ASK_AGAIN)


@pytest.mark.parametrize(
    ("api", "presence"),
    [
        (Answers("a", **RUNS), Presence.EXISTS),
        (Answers("a", terminated={}), Presence.ENDED),
        (Answers(), Presence.GONE),
        (Answers(error=errors.Unavailable("503", 503)), Presence.UNKNOWN),
    ],
    ids=["runs", "ended", "gone", "no answer"],
)
async def test_a_lost_pod_of_a_ledger_without_names_is_unknown_until_all_pods_of_the_namespace_are_listed(
    api: Answers, presence: Presence
) -> None:
    lost, kube = LostPods(), cast(Kube, api)
    first = await lost.ask(kube, POOL, {"a": ""}, 100.0)
    assert (first["a"].presence, first["a"].name) == (presence, "a" if api.uid else "")
    more = await lost.ask(kube, POOL, {"a": "", "b": ""}, 101.0)
    assert (more["a"], more["b"].presence, api.reads) == (first["a"], Presence.UNKNOWN, 1), "a list is not read at once"
    again = await lost.ask(kube, POOL, {"a": ""}, 100.0 + ASK_AGAIN)
    assert (again["a"].presence, api.reads) == (presence, 1 if first["a"].over else 2)


def test_a_tombstone_goes_only_after_this_process_has_missed_its_pod_for_the_whole_time() -> None:
    """The time in it may come from another machine, whose clock is wrong."""
    observed = without(healthy(), "b")
    assert observed.ledger is not None
    old = {**observed.ledger.grants.pods, "b": Grant(10, 5, 10, gone=observed.unix - 3600)}
    observed = replace(observed, ledger=replace(observed.ledger, grants=replace(observed.ledger.grants, pods=old)))

    def charged_after(seconds: float, presence: Presence = Presence.GONE) -> bool:
        lost = {"b": LostPod("shop-b", presence, observed.now - seconds)}
        found = decide(replace(observed, lost=lost))
        names = [each.key[1] for each in found.steps]
        return naming.grants_config_map("shop") not in names or "b" in ledger(found).pods

    assert charged_after(0.0)
    assert charged_after(OUTLIVES - 0.1)
    assert not charged_after(OUTLIVES)
    assert charged_after(3600.0, Presence.EXISTS)
    assert charged_after(3600.0, Presence.UNKNOWN)
    assert not charged_after(0.0, Presence.ENDED)
    assert decide(observed).requeue_after is not None


def test_a_pod_without_its_label_is_named_with_its_charge_and_a_remedy() -> None:
    observed = without(settled(healthy()), "b")
    lost = {"b": LostPod("shop-b", Presence.EXISTS, observed.now)}
    found = condition(replace(observed, lost=lost), ConditionType.WITHIN_BUDGET)
    assert found == (
        "True",
        "Fits",
        (
            "The wanted pods fit in serverConnections.max. Pod shop-b runs without the labels "
            f"{naming.LABEL_MANAGED_BY} and {naming.LABEL_POOL} of this pool and is charged with 10 server "
            "connections: delete it, or give it its labels back."
        ),
    )


@pytest.mark.parametrize(
    ("error", "sentences"),
    [
        (errors.Forbidden("no right", 403), "no right. Let the operator get pods."),
        (errors.Unavailable("The API answered 503.", 503), "The API answered 503. The operator asks again."),
    ],
)
async def test_a_pod_that_could_not_be_read_is_named_with_the_remedy_of_the_failure(
    error: errors.ApiError, sentences: str
) -> None:
    observed = without(settled(healthy()), "b")
    lost = await LostPods().ask(cast(Kube, Answers(error=error)), POOL, {"b": "shop-b"}, observed.now)
    message = condition(replace(observed, lost=lost), ConditionType.WITHIN_BUDGET)[2]
    assert message.endswith(f"because it is unknown whether it still exists: {sentences}")
