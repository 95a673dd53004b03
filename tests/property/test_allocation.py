"""A server's budget: whatever pools, pods and operators do in whatever order, no more is given or held than there is.

Seeded schedules in fixed numbers: the same every time, and a failure is told as the shortest schedule that fails.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import pytest
from tests.property.allocation_model import Allocate, Obeys, Pool, World, obeys
from tests.property.ledger_model import Op, Violation

from pgbouncer_operator.sizing import allocation
from pgbouncer_operator.sizing.allocation import Allocations, Applicant, Terms, allocate

RUNS = 1500
STEPS = (
    *("look", "write", "see", "tell", "deliver") * 5,
    *("born", "give", "fill", "turn") * 3,
    *("want", "want", "replicas", "terminate", "gone", "gone", "delete", "again", "crash", "raise", "lower"),
)


@dataclass(frozen=True, slots=True)
class Way:
    """How the operators of a world work: as ours do, or with a fault."""

    allocate: Allocate = allocate
    obeys: Obeys = obeys
    swap: bool = True


def schedule(random: Random) -> list[Op]:
    """First shares and pods for all, then anything."""
    ops: list[Op] = []
    for place in range(3):
        ops += [("look", 0, 0), ("write", 0, 0), ("born", place, 0), ("see", place, 0), ("tell", place, 0)]
        ops += [("deliver", place, 0)]
    for _ in range(random.randint(30, 120)):
        ops.append((random.choice(STEPS), random.randrange(3), random.randrange(40)))
    return ops


def start(way: Way, random: Random) -> World:
    names = ("default/a", "default/b", "default/c")
    pools = {name: Pool(name, 1, random.randrange(4), random.randint(1, 40)) for name in names}
    return World(way.allocate, random.randint(10, 60), pools, way.obeys, way.swap)


def broken(way: Way, after: Callable[[World], None], seed: int, ops: Sequence[Op]) -> Violation | None:
    world = start(way, Random(-seed - 1))
    try:
        world.run(ops)
        after(world)
    except Violation as violation:
        return violation
    return None


def check(way: Way, after: Callable[[World], None] = lambda world: None, runs: int = RUNS) -> int:
    """Run all schedules; give their steps. Violation tells the shortest schedule found that breaks the promise."""
    done = 0
    for seed in range(runs):
        ops = schedule(Random(seed))
        if broken(way, after, seed, ops) is not None:
            place = 0
            while place < len(ops):
                fewer = ops[:place] + ops[place + 1 :]
                ops, place = (fewer, place) if broken(way, after, seed, fewer) else (ops, place + 1)
            raise Violation(f"seed {seed}: {broken(way, after, seed, ops)}; {ops}")
        done += len(ops)
    return done


def at_rest(world: World) -> None:
    """After the trouble nothing is on its way, and what is wanted and there is given."""
    world.calm()
    entries = world.versions[-1].entries
    wanted = {pool.name: max(pool.want, pool.replicas + 1) if pool.replicas else 0 for pool in world.pools.values()}
    faults = {
        "a shrink is not confirmed": any(each.high > each.connections for each in entries.values()),
        "more is given than the budget": world.charged() > world.budget,
        "connections lie idle": world.charged() < min(world.budget, sum(wanted.values())) - 4,
        "more is given than wanted": any(each.connections > wanted[name] for name, each in entries.items()),
    }
    for sentence, fault in faults.items():
        if fault and not world.refused():
            raise Violation(f"{sentence}: {entries} of {world.budget}, wanted {wanted}")


def test_no_more_is_given_or_held_than_the_budget_and_when_trouble_ends_it_is_given_to_those_who_want_it() -> None:
    assert check(Way(), after=at_rest) > 100_000


Plant = Callable[[pytest.MonkeyPatch], Way]


def grow_before_the_shrink_is_confirmed(patch: pytest.MonkeyPatch) -> Way:
    honest = allocation.allocate

    def faulty(before: Allocations, applicants: Sequence[Applicant], terms: Terms) -> Allocations:
        entries = {name: replace(each, high=each.connections) for name, each in before.entries.items()}
        return honest(replace(before, entries=entries), applicants, terms)

    return Way(faulty)


def confirm_without_the_round(patch: pytest.MonkeyPatch) -> Way:
    honest = allocation._confirmed
    patch.setattr(
        allocation, "_confirmed", lambda entry, pool, at: honest(entry, replace(pool, confirmed=entry.seq), at)
    )
    return Way()


def confirm_without_what_is_held(patch: pytest.MonkeyPatch) -> Way:
    honest = allocation._confirmed
    patch.setattr(allocation, "_confirmed", lambda entry, pool, at: honest(entry, replace(pool, held=0), at))
    return Way()


def forget_deleted_pools(patch: pytest.MonkeyPatch) -> Way:
    def faulty(before: Allocations, applicants: Sequence[Applicant], terms: Terms) -> Allocations:
        there = {each.pool for each in applicants}
        return allocate(before, applicants, replace(terms, emptied=before.entries.keys() - there))

    return Way(faulty)


def take_a_new_pool_for_the_old_one_of_its_name(patch: pytest.MonkeyPatch) -> Way:
    def faulty(before: Allocations, applicants: Sequence[Applicant], terms: Terms) -> Allocations:
        known: Mapping[str, Applicant] = {each.pool: each for each in applicants}
        kept = {name: each for name, each in before.entries.items() if name not in known or known[name].uid == each.uid}
        return allocate(replace(before, entries=kept), applicants, terms)

    return Way(faulty)


def take_an_unknown_ledger_for_an_empty_one(patch: pytest.MonkeyPatch) -> Way:
    def faulty(before: Allocations, applicants: Sequence[Applicant], terms: Terms) -> Allocations:
        said = [each if each.confirmed else replace(each, held=0, confirmed=before.seq) for each in applicants]
        return allocate(before, said, terms)

    return Way(faulty)


def write_without_compare_and_swap(patch: pytest.MonkeyPatch) -> Way:
    return Way(swap=False)


def obey_old_news_of_the_server(patch: pytest.MonkeyPatch) -> Way:
    return Way(obeys=lambda ledger, entry: True)


def give_a_pool_more_than_is_free(patch: pytest.MonkeyPatch) -> Way:
    def faulty(before: Allocations, applicants: Sequence[Applicant], terms: Terms) -> Allocations:
        return allocate(before, applicants, replace(terms, budget=terms.budget + 1))

    return Way(faulty)


MUTANTS: tuple[Plant, ...] = (
    grow_before_the_shrink_is_confirmed,
    confirm_without_the_round,
    confirm_without_what_is_held,
    forget_deleted_pools,
    take_a_new_pool_for_the_old_one_of_its_name,
    take_an_unknown_ledger_for_an_empty_one,
    write_without_compare_and_swap,
    obey_old_news_of_the_server,
    give_a_pool_more_than_is_free,
)


@pytest.mark.parametrize("plant", MUTANTS, ids=lambda plant: plant.__name__)
def test_the_model_notices_operators_that_would(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    way = plant(monkeypatch)

    with pytest.raises(Violation):
        check(way)
