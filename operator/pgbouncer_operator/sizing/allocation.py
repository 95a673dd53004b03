"""What a server lets each pool hold, so that the sum of all pools never exceeds its budget. Pure.

The rule is that of the ledger, one level up: lower one pool, wait until the pool's ledger confirms it, and only then
raise another. A pool is charged with the most that its pods may still hold: its allocation, or the higher number that
its ledger has not yet confirmed to have left. The caller writes the result with compare-and-swap before any pool grows.
The charges exceed the budget only after the budget was lowered, or when a pool's record was lost. Then no pool grows.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from pgbouncer_operator.sizing.fairness import Claim, Portion, divide

POOLS = 2000  # entries of one server, which the definition of a PostgresServer bounds
ROUNDS = 2**40  # no server makes so many rounds: the number comes from a forged ledger


@dataclass(frozen=True, slots=True)
class Entry:
    """One pool's allocation, as the server's status stores it."""

    pool: str
    """The pool as `namespace/name`."""
    uid: str
    """UID of the ConnectionPool: another pool of the same name does not inherit the entry."""
    connections: int
    """The allocation: server connections that the pool may hold."""
    high: int
    """Most server connections that the pool may still hold; at `connections` once its ledger has confirmed."""
    seq: int
    """The round that set `connections`."""
    former: tuple[tuple[str, int], ...] = ()
    """By host and port that the server has left, the most of its charge that may still be there."""

    @property
    def charge(self) -> int:
        """Most server connections that the pool's pods may hold."""
        return max(self.connections, self.high)


@dataclass(frozen=True, slots=True)
class Applicant:
    """A pool that refers to the server, and what it asks for."""

    pool: str
    """The pool as `namespace/name`."""
    uid: str
    """UID of the ConnectionPool."""
    group: str
    """The namespace: its pools hold one portion together."""
    floor: int
    """Server connections that the wanted pods need at least."""
    want: int
    """Server connections that the pool would use."""
    held: int | None
    """Most server connections that its pods may hold by its ledger; None while unknown."""
    confirmed: int
    """The round that its ledger was made from; 0 when the ledger names another server."""
    welcome: bool = True
    """False once the server no longer allows the pool's namespace."""
    largest: int = 0
    """The largest grant of one pod in its ledger."""
    reached: str = ""
    """The host and port at which all of its server connections are, by its ledger; empty while it does not say."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The server's side of a round."""

    budget: int
    """Server connections of all pools together."""
    portions: Mapping[str, Portion]
    """The portion of each group, by namespace."""
    emptied: Set[str]
    """Pools, as `namespace/name`, that have neither a pod nor a Deployment that could make one."""
    elsewhere: Mapping[str, Entry] = field(default_factory=dict)
    """By pool, as `namespace/name`, what other servers of the same host still charge it with, and have to get back.
    `connections` is the part that they leave to it.
    """

    def most(self, group: str) -> int:
        """Server connections that a pool of the group may be given at most."""
        most = self.portions[group].most
        return self.budget if most is None else min(most, self.budget)


@dataclass(frozen=True, slots=True)
class Allocations:
    """The result of one round."""

    seq: int
    """The round; it grows with every change."""
    entries: Mapping[str, Entry]
    """By pool, as `namespace/name`."""
    refused: tuple[str, ...] = ()
    """Pools whose floor does not fit, or that hold more at another server than fits here; the oldest first."""
    doubted: tuple[str, ...] = ()
    """Pools whose ledger no operator can have written; the oldest first."""
    address: str = ""
    """The host and port that they are for (`endpoints.address`); empty while unknown."""
    elsewhere: int = 0
    """Server connections that pools may still hold at the server's host and port by what other servers gave them."""

    @property
    def charged(self) -> int:
        """Server connections that all pools together may hold."""
        return sum(each.charge for each in self.entries.values())


def allocate(before: Allocations, applicants: Sequence[Applicant], terms: Terms) -> Allocations:
    """The next round. Without a change it is `before` itself, with the current `refused` and `doubted`.

    applicants: the oldest first. The entry of a pool that no longer applies, or that was replaced by another pool of
    its name, keeps its charge until the pool is among `terms.emptied`.
    """
    heard, applicants = applicants, [_believed(each, before, terms) for each in applicants]
    by_name = {each.pool: each for each in applicants}
    entries: dict[str, Entry] = {}
    for name, entry in before.entries.items():
        pool = by_name.get(name)
        if pool is not None and pool.uid == entry.uid:
            entries[name] = _confirmed(entry, pool, before.address)
        elif name not in terms.emptied:
            entries[name] = entry
    seq = 1 + max([before.seq, *(each.seq for each in entries.values()), *(each.confirmed for each in applicants)])
    for each in applicants:
        own = entries.get(each.pool)
        if own is not None and own.uid == each.uid and each.confirmed > own.seq:  # the pool waits for a later round
            entries[each.pool] = replace(own, high=own.charge, seq=seq)
    pools = [each for each in applicants if each.pool not in entries or entries[each.pool].uid == each.uid]
    names = {each.pool for each in pools}
    others = sum(entries[name].charge for name in entries.keys() - names)
    others += sum(each.connections for name, each in terms.elsewhere.items() if name not in names)
    targets, refused = _targets(pools, entries, terms, terms.budget - others)
    for each in pools:
        own = entries.get(each.pool)
        if own is not None and targets[each.pool] < own.connections:
            entries[each.pool] = replace(own, connections=targets[each.pool], high=own.charge, seq=seq)
    blocked = _grow(pools, entries, targets, terms, seq)
    refused = tuple(each.pool for each in pools if each.pool in {*refused, *blocked})
    doubted = tuple(each.pool for each in heard if _doubted(each, before))
    entries = _within(entries, before)
    if entries == before.entries:
        return replace(before, refused=refused, doubted=doubted)
    return Allocations(seq, dict(sorted(entries.items())), refused, doubted, before.address)


def _within(entries: dict[str, Entry], before: Allocations) -> dict[str, Entry]:
    """As many entries as a server may have. Those of pools that hold and get nothing take only what others leave."""
    order = sorted(entries, key=lambda name: (not entries[name].charge, name not in before.entries, name))
    return {name: entries[name] for name in order[:POOLS]}


def _believed(pool: Applicant, before: Allocations, terms: Terms) -> Applicant:
    """The pool with what its ledger may be believed. Whoever may write ConfigMaps in its namespace can write that.

    A ledger never raises what the pool is charged with here. Only where the record of all rounds was lost, ledgers
    bring it back, each up to what the pool may have been given at most.
    """
    if not pool.confirmed:
        return pool
    confirmed = min(pool.confirmed, ROUNDS)
    if not before.seq:
        held = None if pool.held is None else min(pool.held, terms.most(pool.group))
        return replace(pool, held=held, confirmed=confirmed)
    own = before.entries.get(pool.pool)
    if own is None or own.uid != pool.uid:
        return replace(pool, confirmed=0)  # it was given nothing: it brings what it holds from elsewhere
    return replace(pool, held=None, confirmed=confirmed) if confirmed > own.seq else pool


def _doubted(pool: Applicant, before: Allocations) -> bool:
    """Whether only somebody else than an operator can have written the pool's ledger.

    More than the pool was given in all proves nothing. So says the ledger of an honest pool whose pods took static
    shares while no operator ran, and a recovered one, which charges silent pods with anything. But no pod is granted,
    nor takes, more than its whole pool may hold. A round above ours proves nothing either: an older status of the
    server may have been restored.
    """
    own = before.entries.get(pool.pool)
    if not before.seq or own is None or own.uid != pool.uid:
        return False
    return pool.confirmed > ROUNDS or (pool.confirmed == own.seq and pool.largest > own.charge)


def _confirmed(entry: Entry, pool: Applicant, address: str) -> Entry:
    """The entry after what the pool's ledger confirms."""
    fresh = pool.confirmed >= entry.seq
    if fresh and pool.held is not None and pool.held <= entry.connections:
        entry = replace(entry, high=entry.connections)
    if not entry.former:
        return entry
    left = fresh and pool.reached == address
    return replace(entry, former=() if left else tuple((at, min(most, entry.charge)) for at, most in entry.former))


def _targets(
    pools: Sequence[Applicant], entries: Mapping[str, Entry], terms: Terms, budget: int
) -> tuple[dict[str, int], tuple[str, ...]]:
    """What each pool gets in the end, by name; and the refused pools.

    Floors come first, those of older pools before those of newer ones. Then come the portions of groups, then equal
    parts within a group. A pool that already has an allocation is never lowered below its floor, not even when the
    floors no longer fit.
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
    of_groups = divide(max(0, budget), groups).parts
    of_pools: dict[str, int] = {}
    for name, claims in by_group.items():
        of_pools |= divide(of_groups.get(name, 0), claims).parts
    return {pool.pool: of_pools.get(pool.pool, floor) for pool, floor in admitted}


def _grow(
    pools: Sequence[Applicant], entries: dict[str, Entry], targets: Mapping[str, int], terms: Terms, seq: int
) -> set[str]:
    """Give out what no pool is charged with, to the oldest pool first. A new pool gets nothing below its floor.

    Returns the pools that hold more at another server than is free here, because a pool brings all of it when it
    arrives; and the newcomers beyond POOLS.
    """
    # A pool without an entry whose ledger names this server: its entry was lost, and its pods still hold connections.
    lost = {each.pool: each.held or 0 for each in pools if each.pool not in entries and each.confirmed}
    kept = reserved(entries, terms)
    free = terms.budget - sum(each.charge for each in entries.values()) - sum(lost.values()) - sum(kept.values())
    blocked, holders = set(), sum(bool(each.charge) for each in entries.values()) + len(lost)
    for pool in pools:
        entry = entries.get(pool.pool)
        if entry is None and pool.held is None:
            continue
        have, charge = (entry.connections, entry.charge) if entry else (0, lost.get(pool.pool, 0))
        own = kept.get(pool.pool, 0)  # what it holds under another server of this host it may bring
        brought = 0 if pool.confirmed else max(0, (pool.held or 0) - charge)
        beyond = not charge and pool.floor and holders >= POOLS
        if beyond or brought > max(0, min(free + own, terms.most(pool.group) - charge)):
            blocked.add(pool.pool)
            continue
        if entry is not None and brought:  # it comes back; its pods may open connections once this is written
            entries[pool.pool] = replace(entry, high=charge + brought, seq=seq)
            holders += not charge
            free -= max(0, brought - own)
            continue
        connections = min(targets[pool.pool], charge + max(0, free + own))
        if entry is not None and (connections <= have or (not have and connections < pool.floor)):
            continue
        if entry is None and connections < pool.floor and targets[pool.pool] >= pool.floor and not charge:
            continue  # others are being lowered to make room for it
        connections = connections if connections >= pool.floor or charge else 0
        high = max(connections, charge, 0 if entry else pool.held or 0)  # what it has elsewhere it may open here
        given = entries[pool.pool] = Entry(pool.pool, pool.uid, connections, high, seq, entry.former if entry else ())
        free -= max(0, given.charge - charge - own)
        holders += bool(given.charge) - bool(charge)
    return blocked


def reserved(entries: Mapping[str, Entry], terms: Terms) -> dict[str, int]:
    """By pool, what it holds under another server of this host beyond its charge here."""
    charged = {name: each.charge for name, each in entries.items()}
    return {name: max(0, each.charge - charged.get(name, 0)) for name, each in terms.elsewhere.items()}
