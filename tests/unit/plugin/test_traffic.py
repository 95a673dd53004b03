from typing import Any

import pytest
from tests.unit.plugin.world import World, condition, follow, paused, served

from pgbouncer_operator import naming

FLOWING = condition("Paused", "False", "Flowing", "Queries reach the server.")
PAUSING = condition("Paused", "False", "Pausing", "1 of 2 pods hold queries back; the others wait for transactions.")
TIMED_OUT = condition("Paused", "False", "PauseTimedOut", "The pause has reached pauseTimeoutSeconds.")


def spec(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.get("ConnectionPool", "shop-pool")["spec"]
    return found


def after(world: World, *looks: Any) -> None:
    """What each wait of a command brings, one after the other; the last one stays."""
    left = list(looks)

    def meanwhile() -> None:
        (left.pop(0) if len(left) > 1 else left[0])()

    world.meanwhile = meanwhile


def says(world: World, found: dict[str, Any]) -> Any:
    return lambda: paused(world, world.get("ConnectionPool", "shop-pool"), found)


def test_a_pause_waits_until_every_pod_holds_queries_back(world: World) -> None:
    world.put(served(conditions=[FLOWING]))
    after(world, lambda: None, says(world, PAUSING), lambda: follow(world))
    answer = world.run("pause", "shop-pool", "--for", "15s")
    assert answer.code == 0
    assert answer.lines == [
        "shop-pool: 2 of 2 pods hold queries back, until 12:00:15 UTC at the latest.",
        "shop-pool: spec.pauseTimeoutSeconds was 20 and is 15 from now on.",
    ]
    assert (spec(world)["traffic"], spec(world)["pauseTimeoutSeconds"]) == ("Paused", 15)
    assert len(world.waited) == 3


def test_a_pause_without_a_time_leaves_the_pools_own(world: World) -> None:
    body = served(conditions=[FLOWING])
    body["spec"] |= {"pauseTimeoutSeconds": 10}
    world.put(body)
    after(world, lambda: follow(world))
    assert world.run("pause", "shop-pool").lines == [
        "shop-pool: 2 of 2 pods hold queries back, until 12:00:10 UTC at the latest."
    ]
    assert spec(world)["pauseTimeoutSeconds"] == 10


@pytest.mark.parametrize("patience", [None, 60])
def test_a_pause_that_outlasts_clients_is_said(world: World, patience: int | None) -> None:
    body = served(conditions=[FLOWING])
    if patience:
        body["spec"]["timeouts"] = {"queryWaitSeconds": patience}
    world.put(body)
    after(world, lambda: follow(world))
    words = f"Clients that wait longer than timeouts.queryWaitSeconds ({patience or 30}) get an error."
    assert world.run("pause", "shop-pool", "--for", "2m").lines[-1] == f"shop-pool: {words}"


def test_a_pause_that_ends_before_all_pods_hold_is_not_done(world: World) -> None:
    world.put(served(conditions=[FLOWING]))
    after(world, says(world, PAUSING), says(world, TIMED_OUT))
    answer = world.run("pause", "shop-pool", "-o", "json")
    assert answer.code == 1
    assert (answer.json["done"], answer.json["reason"]) == (False, "PauseTimedOut")


def test_a_pause_that_no_operator_follows_is_given_up(world: World) -> None:
    world.put(served(conditions=[FLOWING]))
    answer = world.run("pause", "shop-pool", "--for", "5s")
    assert answer.code == 1
    assert "`kubectl pgbouncer doctor` says whether the operator runs." in answer.text
    assert sum(world.waited) == 20


def test_an_older_pause_that_has_timed_out_is_ended_first(world: World) -> None:
    world.put(served(conditions=[TIMED_OUT]))
    before = world.read()
    answer = world.run("pause", "shop-pool")
    assert answer.code == 1
    assert "run `kubectl pgbouncer resume` first" in answer.text
    assert world.read() == before


@pytest.mark.parametrize("text", ["0s", "2h", "3601s", "61m", "soon", "-5s", "1.5s"])
def test_a_time_that_a_pool_cannot_have_is_bad_usage(world: World, text: str) -> None:
    world.put(served())
    answer = world.run("pause", "shop-pool", f"--for={text}")
    assert (answer.code, answer.text) == (2, "")
    assert "traffic" not in spec(world)


@pytest.mark.parametrize("found", [condition("Paused", "True", "Paused"), TIMED_OUT])
def test_a_resume_waits_until_queries_flow(world: World, found: dict[str, Any]) -> None:
    body = served(conditions=[found])
    body["spec"] |= {"traffic": "Paused"}
    world.put(body)
    after(world, lambda: None, lambda: follow(world))
    answer = world.run("resume", "shop-pool")
    assert (answer.code, answer.lines) == (0, ["shop-pool: Queries reach the server."])
    assert spec(world)["traffic"] == "Flowing"


def test_a_status_about_the_former_spec_does_not_count(world: World) -> None:
    world.put(served(conditions=[FLOWING]))
    assert world.run("resume", "shop-pool").code == 1


# Refresh.

OLD = {naming.ANNOTATION_POKE: "7-c1.r00000000-0"}


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    labels = {naming.LABEL_POOL: "shop-pool"}
    return {"kind": "Pod", "metadata": {"namespace": "default", "name": name, "labels": labels, **metadata}}


def mark(world: World) -> None:
    """What the operator writes on pods after a refresh, with the hash of the annotation's value."""
    value = world.get("ConnectionPool", "shop-pool")["metadata"]["annotations"][naming.ANNOTATION_REFRESH]
    assert value == "2026-03-01T12:00:00+00:00"
    marked = {naming.ANNOTATION_POKE: "8-c2.r89eaf280.p1-0"}
    world.put(*(pod(name, annotations=marked) for name in ("a", "b")))


def test_a_refresh_waits_until_every_living_pod_has_its_mark(world: World) -> None:
    leaving = pod("c", annotations=OLD, deletionTimestamp="2026-03-01T11:59:00Z")
    foreign = pod("d", labels={naming.LABEL_POOL: "other"})
    world.put(served(), pod("a", annotations=OLD), pod("b"), leaving, foreign)
    after(world, lambda: None, lambda: mark(world))
    answer = world.run("refresh", "shop-pool")
    assert (answer.code, answer.lines) == (
        0,
        ["shop-pool: 2 of 2 pods were told to read their Secrets again. Allow a few seconds."],
    )
    assert len(world.waited) == 2


def test_a_refresh_that_no_operator_follows_is_given_up(world: World) -> None:
    world.put(served(), pod("a", annotations=OLD))
    answer = world.run("refresh", "shop-pool", "-o", "json")
    assert (answer.code, answer.json["done"]) == (1, False)
    assert sum(world.waited) == 30


def test_somebody_who_may_not_see_pods_is_told_that_the_operator_was_asked(world: World) -> None:
    world.put(served())
    world.write(forbidden=["pods"])
    answer = world.run("refresh", "shop-pool")
    assert answer.code == 0
    assert "The operator was asked. kubectl get pods: pods is forbidden" in answer.text
