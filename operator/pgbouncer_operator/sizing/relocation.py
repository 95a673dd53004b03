"""The allocations of a PostgresServer whose host or port was edited. Pure.

The pools stay at the host and port that their allocations are for, until all that they may bring fits at the new one.
From then on each entry says how much of its charge may still be at the former one, until the pool's ledger says that
its pods have left it.
"""

from dataclasses import replace

from pgbouncer_operator.sizing.allocation import Allocations, Entry, Terms, reserved

FORMER = 8  # hosts and ports of one entry that its pods may not have left yet; the definition bounds them


def moves(allocations: Allocations, address: str) -> bool:
    """Whether the allocations are for another host and port than that."""
    return allocations.address not in ("", address)


def relocate(before: Allocations, after: Allocations, address: str, terms: Terms, gives: bool) -> Allocations:
    """The next round of a server that is to serve at `address`: there if its pools fit, or else where they are.

    after: the round by the terms of `address`. What it adds is given there only.
    gives: whether the server gives out the connections of `address`.
    """
    after = replace(after, elsewhere=sum(reserved(after.entries, terms).values()))
    if not moves(before, address):
        return replace(after, address=address)
    full = any(len(each.former) >= FORMER for each in before.entries.values())
    if full or not gives or (after.elsewhere and after.charged + after.elsewhere > terms.budget):
        return _stays(before, after)
    seq = max(after.seq, before.seq + 1)
    entries = {name: _moved(each, before, address, seq) for name, each in after.entries.items()}
    return replace(after, seq=seq, entries=entries, address=address)


def _stays(before: Allocations, after: Allocations) -> Allocations:
    """`after` without what it adds: the pools may only give back."""
    entries = {
        name: _lower(each, after.entries[name]) for name, each in before.entries.items() if name in after.entries
    }
    seq = before.seq if entries == before.entries else after.seq
    return replace(after, seq=seq, entries=entries, address=before.address)


def _lower(before: Entry, after: Entry) -> Entry:
    return after if after.charge <= before.charge else before


def _moved(entry: Entry, before: Allocations, address: str, seq: int) -> Entry:
    """The entry at the new address. Its charge counts all pods of the pool, wherever they are."""
    own = before.entries.get(entry.pool)
    former = dict(entry.former)
    if own is not None and own.charge:
        former[before.address] = max(own.charge, former.get(before.address, 0))
    former.pop(address, None)
    return replace(
        entry, high=max(entry.charge, own.charge if own else 0), seq=seq, former=tuple(sorted(former.items()))
    )
