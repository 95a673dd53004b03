"""The budget: whatever pods and operators do in whatever order, no more is held than serverConnections.max.

Seeded schedules in fixed numbers: the same every time, and a failure is told as the shortest schedule that fails.
"""

from collections.abc import Callable
from random import Random

import pytest
from tests.property.ledger_model import Allocate, Op, Violation, World
from tests.property.ledger_mutants import MUTANTS, Plant

from pgbouncer_operator.sizing.ledger import allocate

RUNS = 2000
# By weight: an operator looks and writes often, pods follow often, the rest is trouble.
STEPS = (
    *("look", "write", "deliver") * 4,
    *("born", "give", "fill", "look", "write", "static") * 2,
    *("terminate", "gone", "drain", "drain", "serve", "crash", "replicas", "roll", "budget", "force", "wait"),
    "unlabel",
)
SILENT = (0, 0, 0, 1, 2, 4, 7, 127)  # which pods do not answer: mostly none


def schedule(random: Random) -> list[Op]:
    """Some pods and a first ledger, then anything."""
    ops: list[Op] = [("born", 0, random.randrange(2)) for _ in range(random.randint(0, 3))] + [
        ("look", 0, 0),
        ("write", 0, 0),
    ]
    for _ in range(random.randint(20, 90)):
        kind = random.choice(STEPS)
        ops.append((kind, random.randrange(7), random.choice(SILENT) if kind == "look" else random.randrange(60)))
    return ops


def start(run: Allocate, strict: bool, random: Random) -> World:
    databases = random.randint(1, 6)
    return World(run, random.randint(databases, 60), databases, random.randint(1, 5), strict)


def check(run: Allocate, strict: bool, after: Callable[[World], None] = lambda world: None) -> int:
    """Run all schedules; give their steps. Violation tells the shortest schedule found that breaks the promise."""
    done = 0
    for seed in range(RUNS):
        ops = schedule(Random(seed))
        if (found := broken(run, strict, after, seed, ops)) is not None:
            raise Violation(f"seed {seed}: {found}; {shortest(run, strict, after, seed, ops)}")
        done += len(ops)
    return done


def broken(run: Allocate, strict: bool, after: Callable[[World], None], seed: int, ops: list[Op]) -> Violation | None:
    world = start(run, strict, Random(-seed - 1))
    try:
        world.run(ops)
        after(world)
    except Violation as violation:
        return violation
    return None


def shortest(
    run: Allocate, strict: bool, after: Callable[[World], None], seed: int, ops: list[Op]
) -> tuple[Violation, list[Op]]:
    """Leave out every step that is not needed to fail."""
    place = 0
    while place < len(ops):
        fewer = ops[:place] + ops[place + 1 :]
        if broken(run, strict, after, seed, fewer) is not None:
            ops = fewer
        else:
            place += 1
    found = broken(run, strict, after, seed, ops)
    assert found is not None
    return found, ops


def within_the_budget(world: World) -> None:
    if not world.lowered and world.really() > world.size:
        raise Violation(f"{world.really()} of {world.size} are held")


def at_rest(world: World) -> None:
    """After the trouble: all who fit hold equal shares, and nothing lies idle."""
    world.calm()
    limits, caps = world.limits, sorted(pod.cap for pod in world.pods.values() if not pod.unlabelled)
    kept = [pod.cap for pod in world.pods.values() if pod.unlabelled]
    room = limits.size - sum(kept)
    if not caps or len(caps) > room // limits.floor:
        return  # pods beyond what fits: they keep the floor until they are gone
    faults = {
        "a pod without its label keeps more than the floor": any(cap > limits.floor for cap in kept),
        "more is held than the budget": world.really() > limits.size,
        "a living pod waits although it fits": any(cap < limits.floor for cap in caps),
        "shares are not equal": caps[-1] - caps[0] > 1,
        "a pod does not know the others": len(world.pods) > 1
        and any(pod.peers != {each: each for each in world.pods} for pod in world.pods.values()),
        "connections lie idle": len(caps) == limits.slots and sum(caps) < room,
    }
    for sentence, fault in faults.items():
        if fault:
            raise Violation(f"{sentence}: {caps} of {limits}")


def test_pods_never_hold_more_than_the_budget_while_an_operator_is_there() -> None:
    assert check(allocate, strict=True, after=within_the_budget) > 100_000


def test_no_write_lets_more_be_held_than_before_or_than_the_budget_even_when_pods_helped_themselves() -> None:
    assert check(allocate, strict=False) > 100_000


@pytest.mark.parametrize("strict", [True, False])
def test_when_trouble_ends_the_ledger_rests_within_the_budget_and_uses_it(strict: bool) -> None:
    assert check(allocate, strict, after=at_rest) > 100_000


@pytest.mark.parametrize("plant", MUTANTS, ids=lambda plant: plant.__name__)
def test_the_model_notices_an_allocation_that_would(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = plant(monkeypatch)

    def check_both() -> None:
        check(faulty, strict=True, after=within_the_budget)
        check(faulty, strict=False)

    with pytest.raises(Violation):
        check_both()
