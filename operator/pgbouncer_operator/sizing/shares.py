"""How pools share one server's budget: guarantees first, then what they want, by weight. Pure."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """One pool's claim on a server. floor: the least it can run on. guaranteed: its own, whenever it wants it.

    want: connections it could use now. most: never more. weight: its part of what is left, 1 or more.
    """

    name: str
    floor: int
    guaranteed: int
    want: int
    most: int
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Shares:
    """What each pool gets, by name, and who gets nothing because not even his floor fits."""

    given: dict[str, int]
    refused: tuple[str, ...]


def share(budget: int, claims: Sequence[Claim]) -> Shares:
    """Weighted max-min fairness: nobody gets more while somebody who wants more has less for his weight.

    Claims come in the order of their right to a floor, the oldest first: a newcomer never takes it from an old one.
    The sum of all shares is at most the budget. A want below the guarantee leaves the rest to the others.
    """
    given: dict[str, int] = {}
    refused = []
    left = budget
    for claim in claims:
        if claim.floor > left:
            refused.append(claim.name)
            continue
        given[claim.name] = claim.floor
        left -= claim.floor
    taken = [claim for claim in claims if claim.name in given]
    left = _fill(given, taken, {each.name: min(each.guaranteed, each.want, each.most) for each in taken}, left)
    _fill(given, taken, {each.name: min(each.want, each.most) for each in taken}, left)
    return Shares(given, tuple(refused))


def _fill(given: dict[str, int], claims: Sequence[Claim], goals: dict[str, int], left: int) -> int:
    """Raise shares one connection at a time, the lowest for its weight first, up to their goals; what is left."""
    queue = [(given[each.name] / each.weight, index) for index, each in enumerate(claims)]
    heapq.heapify(queue)
    while left > 0 and queue:
        _, index = heapq.heappop(queue)
        claim = claims[index]
        if given[claim.name] >= goals[claim.name]:
            continue
        given[claim.name] += 1
        left -= 1
        heapq.heappush(queue, (given[claim.name] / claim.weight, index))
    return left
