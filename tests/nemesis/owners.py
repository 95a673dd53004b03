"""Events by the owners of pools and of the server: changes of specs and Secrets. Each function is one kind of event."""

import json
import random
import time
from collections.abc import Sequence

from tests.cluster import budgets, server
from tests.cluster.pools import KIND
from tests.localcluster.problem import Problem
from tests.localcluster.waiting import let_pass, until
from tests.nemesis import scene as place
from tests.nemesis.promises import Promise
from tests.nemesis.scene import BUDGET, LESS, MORE, MOST, REPLICAS, SPARE, Scene

from pgbouncer_operator import naming

PAUSE_SECONDS, PAUSE_LIMIT = 3.0, 20
SHARED_SECONDS = 90.0
BUDGETS = (LESS, BUDGET, MORE)


def _beside(values: Sequence[int], now: int, step: int) -> int:
    """The value that many places further in the list; the same where the list ends."""
    place_of = min(range(len(values)), key=lambda index: abs(values[index] - now))
    return values[min(max(place_of + step, 0), len(values) - 1)]


def reload(scene: Scene, chance: random.Random) -> str:
    pool, seconds = scene.pool(chance), 300 + next(scene.turns)
    scene.here.patch(pool, timeouts={"serverIdleSeconds": seconds})
    return f"{pool}: serverIdleSeconds {seconds}"


def roll(scene: Scene, chance: random.Random) -> str:
    pool, backlog = scene.pool(chance), 1000 + next(scene.turns)
    scene.here.patch(pool, parameters={"listen_backlog": backlog})
    return f"{pool}: listen_backlog {backlog}"


def more_replicas(scene: Scene, chance: random.Random) -> str:
    return _replicas(scene, scene.pool(chance), 1)


def fewer_replicas(scene: Scene, chance: random.Random) -> str:
    return _replicas(scene, scene.pool(chance), -1)


def _replicas(scene: Scene, pool: str, step: int) -> str:
    replicas = _beside(REPLICAS[pool], scene.spec(pool).get("replicas", 2), step)
    scene.here.patch(pool, replicas=replicas)
    return f"{pool} to {replicas}"


def raise_max(scene: Scene, chance: random.Random) -> str:
    return _most(scene, scene.pool(chance), 1)


def lower_max(scene: Scene, chance: random.Random) -> str:
    return _most(scene, scene.pool(chance), -1)


def _most(scene: Scene, pool: str, step: int) -> str:
    most = _beside(MOST, scene.spec(pool)["serverConnections"]["max"], step)
    scene.here.patch(pool, serverConnections={"max": most})
    return f"{pool} to {most}"


def raise_budget(scene: Scene, chance: random.Random) -> str:
    """PostgreSQL takes more before the pools do."""
    budget = _beside(BUDGETS, scene.budget.now, 1)
    scene.move_fence(budget)
    budgets.rebudget(scene.here, budget)
    return str(budget)


def lower_budget(scene: Scene, chance: random.Random) -> str:
    """The pools take less, and as soon as the server says that they do, PostgreSQL holds them to it."""
    budget, began = _beside(BUDGETS, scene.budget.now, -1), time.monotonic()
    budgets.rebudget(scene.here, budget)
    try:
        until(lambda: "" if _within(scene, budget) else f"no more than {budget} shared out", SHARED_SECONDS, 0.25)
    except Problem as problem:
        scene.complain(Promise.READY, 1, budgets.SERVER, str(problem))
        budgets.rebudget(scene.here, scene.budget.now)
        return f"{budget}, not reached"
    scene.move_fence(budget)
    return f"{budget}, shared out after {time.monotonic() - began:.0f} s"


def _within(scene: Scene, budget: int) -> bool:
    """Whether the server has allocated no more than the budget, and no pool may still act on more."""
    entries = budgets.shared(scene.here).get("allocations", ())
    return bool(entries) and sum(max(each["connections"], each["high"]) for each in entries) <= budget


def rewrite_secret(scene: Scene, chance: random.Random) -> str:
    """The same login in another object: deleted, and made again."""
    found = scene.here.get("secret", "shop-db")
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop-db"}, "data": found["data"]}
    scene.here.kubectl("replace", "--force", "-f", "-", text=json.dumps(body))
    return "shop-db"


def rotate_password(scene: Scene, chance: random.Random) -> str:
    """A new password of the second user, delivered at once."""
    number = next(scene.turns)
    server.sql(scene.here, f"ALTER ROLE {SPARE} PASSWORD 'spare-{number}'")
    scene.here.apply(place.spare_secret(f"spare-{number}"))
    for pool in place.POOLS:
        scene.here.kubectl("annotate", "--overwrite", KIND, pool, f"{naming.ANNOTATION_REFRESH}={number}")
    return f"{SPARE}-db"


def pause(scene: Scene, chance: random.Random) -> str:
    """Clients wait for some seconds."""
    pool, began = scene.pool(chance), time.monotonic()
    scene.here.patch(pool, traffic="Paused", pauseTimeoutSeconds=PAUSE_LIMIT)
    try:
        scene.here.wait_condition(pool, "Paused", "True", seconds=PAUSE_LIMIT)
        let_pass(PAUSE_SECONDS)
    finally:
        scene.here.patch(pool, traffic="Flowing")
    return f"{pool} for {time.monotonic() - began:.0f} s"


def pool_beside(scene: Scene, chance: random.Random) -> str:
    """One more pool on the server: it is made, serves, and is deleted."""
    name, began = f"beside-{next(scene.turns)}", time.monotonic()
    scene.here.apply(budgets.member(name, 4, replicas=1))
    try:
        scene.here.wait_condition(name, "Ready", "True", seconds=60)
    except Problem as problem:
        scene.complain(Promise.READY, 1, name, " ".join(str(problem).split())[:300])
    finally:
        scene.here.kubectl("delete", KIND, name, "--wait=false")
    return f"{name}, Ready after {time.monotonic() - began:.0f} s"
