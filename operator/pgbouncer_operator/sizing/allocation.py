"""What a server lets each pool hold, so that the sum of all pools never exceeds its budget.

The law of the ledger, one level up: shrink, have that very shrink confirmed by the pool's ledger, only then grow
another. A pool is charged for the most that its pods may still hold: its connections, or the higher number that its
ledger has not yet confirmed to have left. Pure: the caller writes the result with compare-and-swap before any pool
grows by it. Only a lowered budget, or holdings of which no record is left, can be more than the budget; then nothing
grows.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.sizing.shares import Claim, share


@dataclass(frozen=True, slots=True)
class Entry:
    """One pool's allocation. seq: the round that set `connections`. high: the most not confirmed to have left."""

    pool: str
    uid: str
    connections: int
    high: int
    seq: int

    @property
    def charge(self) -> int:
        """What the pool's pods may hold at most."""
        return max(self.connections, self.high)


@dataclass(frozen=True, slots=True)
class Applicant:
    """A pool that refers to the server. group: the namespace whose share it is part of.

    floor: the least that its wanted pods need. want: what it would use. held: the most that its pods may hold by its
    ledger, None while unknown. confirmed: the round that its ledger was made from, 0 when not of this server. welcome:
    False once consent has gone.
    """

    pool: str
    uid: str
    group: str
    floor: int
    want: int
    held: int | None
    confirmed: int
    welcome: bool = True


@dataclass(frozen=True, slots=True)
class Portion:
    """What the pools of one group may hold together. most: None for all of the budget."""

    guaranteed: int
    most: int | None
    weight: int


@dataclass(frozen=True, slots=True)
class Terms:
    """The server's side: its budget, the portion of each group, and names of pools that have neither pod nor deployment
    any more."""

    budget: int
    portions: Mapping[str, Portion]
    emptied: Set[str]


@dataclass(frozen=True, slots=True)
class Allocations:
    """One round. entries: by pool. seq: grows with every change.

    refused: pools whose floor, or what they bring from another server, does not fit.
    """

    seq: int
    entries: Mapping[str, Entry]
    refused: tuple[str, ...] = ()

    @property
    def charged(self) -> int:
        """Connections that all pools together may hold."""
        return sum(each.charge for each in self.entries.values())


def held(grants: Grants, pods: Set[str]) -> int:
    """The most that the pods of a ledger may hold: also what a pod may take that has no grant yet.

    pods: uids of all pods there are. A pod of the ledger that is no more is still counted: its pool has to say so.
    """
    newborn = sum(1 for uid in pods if uid not in grants.pods)
    granted = (max(each.cap, each.high, 0 if each.cap else grants.static) for each in grants.pods.values())
    return sum(granted) + grants.static * newborn


def allocate(before: Allocations, applicants: Sequence[Applicant], terms: Terms) -> Allocations:
    """The next round: `before` itself, but for `refused`, when nothing changes. Applicants: the oldest first.

    A pool that is no applicant any more, or another of its name, keeps its charge until it is among `terms.emptied`.
    """
    known = {each.pool: each for each in applicants}
    entries: dict[str, Entry] = {}
    for name, entry in before.entries.items():
        pool = known.get(name)
        if pool is not None and pool.uid == entry.uid:
            entries[name] = _confirmed(entry, pool)
        elif name not in terms.emptied:
            entries[name] = entry
    seq = 1 + max([before.seq, *(each.seq for each in entries.values()), *(each.confirmed for each in applicants)])
    for each in applicants:
        mine = entries.get(each.pool)
        if mine is not None and mine.uid == each.uid and each.confirmed > mine.seq:  # an older status was restored
            entries[each.pool] = replace(mine, high=max(mine.charge, each.held or 0), seq=seq)
    ours = [each for each in applicants if each.pool not in entries or entries[each.pool].uid == each.uid]
    strangers = sum(entries[name].charge for name in entries.keys() - {each.pool for each in ours})
    targets, refused = _targets(ours, entries, terms, terms.budget - strangers)
    for each in ours:
        mine = entries.get(each.pool)
        if mine is not None and targets[each.pool] < mine.connections:
            entries[each.pool] = Entry(each.pool, each.uid, targets[each.pool], mine.charge, seq)
    blocked = _grow(ours, entries, targets, terms.budget, seq)
    refused = tuple(each.pool for each in ours if each.pool in {*refused, *blocked})
    if entries == before.entries:
        return replace(before, refused=refused)
    return Allocations(seq, dict(sorted(entries.items())), refused)


def _confirmed(entry: Entry, pool: Applicant) -> Entry:
    """The entry as the pool's ledger leaves it."""
    if pool.held is None or pool.confirmed < entry.seq or pool.held > entry.connections:
        return entry
    return replace(entry, high=entry.connections)


def _targets(
    pools: Sequence[Applicant], entries: Mapping[str, Entry], terms: Terms, budget: int
) -> tuple[dict[str, int], tuple[str, ...]]:
    """What each pool is to have in the end, by name, and who is refused.

    Floors first, the oldest pool's before a newcomer's, then the portions of groups, then equal parts within a group. A
    pool that serves is never taken below its floor, also when that does not fit any more.
    """
    targets: dict[str, int] = {}
    admitted: list[tuple[Applicant, int]] = []
    refused: list[str] = []
    left, used = budget, dict.fromkeys((each.group for each in pools), 0)
    for pool in pools:
        entry = entries.get(pool.pool)
        floor = min(pool.floor, entry.connections) if entry and entry.connections else pool.floor
        most = terms.portions[pool.group].most
        if not pool.welcome or floor > left or (most is not None and used[pool.group] + floor > most):
            targets[pool.pool] = floor if entry and entry.connections else 0
            left -= targets[pool.pool]
            refused += [pool.pool] if pool.floor else []
            continue
        left -= floor
        used[pool.group] += floor
        admitted.append((pool, floor))
    budget -= sum(targets.values())
    return targets | _divided(admitted, terms, budget), tuple(refused)


def _divided(admitted: Sequence[tuple[Applicant, int]], terms: Terms, budget: int) -> dict[str, int]:
    by_group: dict[str, list[Claim]] = {}
    for pool, floor in admitted:
        want = max(pool.want, floor)
        by_group.setdefault(pool.group, []).append(Claim(pool.pool, floor, 0, want, want))
    groups = []
    for name, claims in by_group.items():
        portion, floor = terms.portions[name], sum(each.floor for each in claims)
        most = max(floor, budget if portion.most is None else portion.most)
        want = sum(each.want for each in claims)
        groups.append(Claim(name, floor, portion.guaranteed, want, most, portion.weight))
    given = share(max(0, budget), groups).given
    found: dict[str, int] = {}
    for name, claims in by_group.items():
        found |= share(given.get(name, 0), claims).given
    return {pool.pool: found.get(pool.pool, floor) for pool, floor in admitted}


def _grow(
    pools: Sequence[Applicant], entries: dict[str, Entry], targets: Mapping[str, int], budget: int, seq: int
) -> set[str]:
    """Give what nobody is charged for, to the oldest first; a newcomer gets nothing that is below his floor.

    The names of those that hold more at another server than there is room for: it would come along at once.
    """
    # A pool that has no entry but a ledger of ours: its entry was lost, and it holds what it holds.
    lost = {each.pool: each.held or 0 for each in pools if each.pool not in entries and each.confirmed}
    free = budget - sum(each.charge for each in entries.values()) - sum(lost.values())
    blocked = set()
    for pool in pools:
        entry = entries.get(pool.pool)
        if entry is None and pool.held is None:
            continue
        have, charge = (entry.connections, entry.charge) if entry else (0, lost.get(pool.pool, 0))
        brought = 0 if pool.confirmed else max(0, (pool.held or 0) - charge)
        if brought > max(0, free):
            blocked.add(pool.pool)
            continue
        if entry is not None and brought:  # it comes back, and is let in when this is written
            entries[pool.pool] = replace(entry, high=charge + brought, seq=seq)
            free -= brought
            continue
        connections = min(targets[pool.pool], charge + max(0, free))
        if entry is not None and (connections <= have or (not have and connections < pool.floor)):
            continue
        if entry is None and connections < pool.floor and targets[pool.pool] >= pool.floor and not charge:
            continue  # room is being made for it
        connections = connections if connections >= pool.floor or charge else 0
        entries[pool.pool] = Entry(pool.pool, pool.uid, connections, max(connections, charge, _along(pool, entry)), seq)
        free -= entries[pool.pool].charge - charge
    return blocked


def _along(pool: Applicant, entry: Entry | None) -> int:
    """What a pool that comes from another server still holds there, and may open here before it has shrunk."""
    return 0 if entry is not None else pool.held or 0
