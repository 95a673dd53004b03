"""How claimants divide a budget: floors first, then guarantees, then what they want, by weight. Pure."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim on a budget, in server connections."""

    name: str
    """Names the claimant: a pool or a group of pools."""
    floor: int
    """The least that it can run with."""
    guaranteed: int
    """What it gets before others get more than their own guarantee, as far as it wants it."""
    want: int
    """What it could use now."""
    most: int
    """The most that it may get."""
    weight: int = 1
    """Its part of what is left, relative to the weights of others; 1 or more."""


@dataclass(frozen=True, slots=True)
class Portion:
    """What the pools of one group may hold together."""

    guaranteed: int
    """Server connections that the group gets before others get more than their floors."""
    most: int | None
    """Server connections that the group may hold; None for the whole budget."""
    weight: int
    """Its part of what is left, relative to the weights of others; 1 or more."""


@dataclass(frozen=True, slots=True)
class Division:
    """What each claimant gets."""

    parts: dict[str, int]
    """Server connections by name."""
    refused: tuple[str, ...]
    """Names of those whose floor does not fit: they get nothing."""


def divide(budget: int, claims: Sequence[Claim]) -> Division:
    """Weighted max-min fairness: no claimant gets more while another one that wants more has less for its weight.

    claims: in the order of their right to a floor, the oldest first; a newer one never takes the floor of an older one.
    The sum of all parts is at most the budget. What a claimant does not want of its guarantee goes to the others.
    """
    parts: dict[str, int] = {}
    refused = []
    left = budget
    for claim in claims:
        if claim.floor > left:
            refused.append(claim.name)
            continue
        parts[claim.name] = claim.floor
        left -= claim.floor
    admitted = [claim for claim in claims if claim.name in parts]
    left = _fill(parts, admitted, {each.name: min(each.guaranteed, each.want, each.most) for each in admitted}, left)
    _fill(parts, admitted, {each.name: min(each.want, each.most) for each in admitted}, left)
    return Division(parts, tuple(refused))


def _fill(parts: dict[str, int], claims: Sequence[Claim], goals: dict[str, int], left: int) -> int:
    """Raise parts up to their goals, one at a time, the lowest for its weight first. Returns what is left."""
    queue = [(parts[each.name] / each.weight, index) for index, each in enumerate(claims)]
    heapq.heapify(queue)
    while left > 0 and queue:
        _, index = heapq.heappop(queue)
        claim = claims[index]
        if parts[claim.name] >= goals[claim.name]:
            continue
        parts[claim.name] += 1
        left -= 1
        heapq.heappush(queue, (parts[claim.name] / claim.weight, index))
    return left
