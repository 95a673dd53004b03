"""Which pools may replace pods of old versions: a few at a time, and none keeps the others waiting for ever."""

from typing import Any, cast

from tests.unit.reconcile.looks import pool

from pgbouncer_operator import naming
from pgbouncer_operator.kube import resources
from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.reconcile.cache import projections
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache, project
from pgbouncer_operator.reconcile.memory import Memory
from pgbouncer_operator.reconcile.pool.agents import Agents
from pgbouncer_operator.reconcile.pool.observe import Observer
from pgbouncer_operator.reconcile.rollout.turns import PATIENCE, Turns
from pgbouncer_operator.resources.template_version import VERSION

FIVE = [("web", name) for name in "abcde"]


def idle(*begun: str) -> dict[tuple[str, str], bool]:
    return {key: key[1] in begun for key in FIVE}


def names(holders: Any) -> str:
    return "".join(sorted(name for _, name in holders))


def test_the_first_by_name_have_a_turn_and_those_that_begin_keep_it() -> None:
    turns = Turns()
    assert names(turns.holders(idle(), 0.0)) == "abc"
    assert names(turns.holders(idle("b", "c"), PATIENCE)) == "bcd"
    assert names(turns.holders(idle("b", "c", "d"), 100 * PATIENCE)) == "bcd", "their new pods are stuck"


def test_pools_that_do_not_begin_let_the_others_go_first_and_have_another_turn_later() -> None:
    turns = Turns()
    assert names(turns.holders(idle(), 0.0)) == "abc"
    assert names(turns.holders(idle(), PATIENCE - 1.0)) == "abc"
    assert names(turns.holders(idle(), PATIENCE)) == "ade"
    assert names(turns.holders(idle("d", "e"), 2 * PATIENCE)) == "bde"
    assert names(turns.holders(idle("d", "e"), 3 * PATIENCE)) == "cde"
    assert names(turns.holders(idle("d", "e"), 4 * PATIENCE)) == "ade"


def test_nobody_is_sent_away_while_nobody_else_waits() -> None:
    turns, few = Turns(), dict.fromkeys(FIVE[:3], False)
    assert names(turns.holders(few, 0.0)) == "abc"
    assert names(turns.holders(few, 100 * PATIENCE)) == "abc"


class Silent:
    """Agents that do not answer."""

    async def ask(self, pods: list[Any]) -> dict[str, None]:
        return {each.uid: None for each in pods}


def old(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A pool whose user wants every fix, and its pod without any."""
    body = pool()
    labels = {naming.LABEL_POOL: name}
    body["metadata"] |= {"name": name, "uid": name}
    body["metadata"]["annotations"] = {naming.ANNOTATION_TEMPLATE_VERSION: str(VERSION)}
    metadata = {"namespace": "web", "name": f"{name}-1", "uid": f"{name}-1", "resourceVersion": "7", "labels": labels}
    return body, {"metadata": metadata, "spec": {"nodeName": "one"}, "status": {"phase": "Running"}}


async def test_three_pools_that_can_not_roll_do_not_block_the_security_fixes_of_the_others() -> None:
    world, now = ClusterCache(), [0.0]
    world.slices.allowed = False
    for _, name in FIVE:
        body, pod = old(name)
        if name in "abc":
            body["spec"]["databases"] = []  # its spec is invalid
        world.put(projections.pool(body))
        world.put(project(resources.PODS, pod))
    observer = Observer(
        cast(Kube, None), cast(Agents, Silent()), world, lambda: now[0], lambda: "2026-01-01T00:00:00Z", False
    )

    async def turn(name: str) -> bool:
        observed = await observer.look(("web", name), Memory())
        assert observed is not None
        return observed.turn

    assert [await turn(name) for name in "abcde"] == [True, True, True, False, False]
    now[0] = PATIENCE
    assert (await turn("d"), await turn("e")) == (True, True)
