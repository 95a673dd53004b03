"""The ledger: which pod may hold how many server connections, so that the sum never exceeds the budget.

Shrink, confirm that very shrink on the pod, only then grow another. A pod is charged for the most it may still hold:
its cap, or the higher cap that it has not yet confirmed to have left. Pure: the caller writes the result with
compare-and-swap before anybody grows.

A pod is dropped when it is known to run nothing any more. One whose object is gone without a sign of that (deleted by
force, its node removed, or nobody looked) leaves a tombstone: it may run on somewhere, or PostgreSQL still counts its
sessions. It is charged like one that drains and does not answer, for as long as such sessions can last.

A pod that was given nothing yet may take the ledger's `static` share unasked: an entry with cap 0 charges it with that
share. While such a pod waits in vain, `static` is 0 and it waits on. Only what a pod took while no operator looked may
go beyond the budget.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pgbouncer_operator.pgbouncer.session import OUTLIVES
from pgbouncer_operator.protocol.grants import Grant, Grants


@dataclass(frozen=True, slots=True)
class PodUse:
    """A pod that exists, and what it last said of itself. seq, cap and open are None while unknown.

    address: empty before it has one. serves: clients may be there. expected: its address is about to come. ended: it is
    known to run nothing any more, whether its object is still there or not. gone: see Grant.
    """

    uid: str
    terminating: bool
    seq: int | None = None
    cap: int | None = None
    open: int | None = None
    address: str = ""
    serves: bool = False
    expected: bool = False
    ended: bool = False
    gone: int = 0


@dataclass(frozen=True, slots=True)
class LedgerTerms:
    """budget: connections of all pods together. floor: least per pod. slots: pods to divide for. static: see Fit.

    server and allocation: the PostgresServer that gave the budget, and its round. awaited: what is charged matters to
    other pools, which wait for it to fall to the budget. now: Unix seconds.
    """

    size: int
    floor: int
    slots: int
    static: int
    server: str = ""
    allocation: int = 0
    awaited: bool = False
    now: int = 0


@dataclass(frozen=True, slots=True)
class Round:
    """One decision. grants: the ledger to write (the very same object when nothing changes).

    charged: connections that pods may hold at this instant, also without a grant. waiting: uids of living pods that
    hold no grant yet.
    """

    grants: Grants
    charged: int
    waiting: tuple[str, ...]

    def room(self, size: int) -> int:
        """Connections of the budget that nobody is charged for."""
        return max(0, size - self.charged)


def allocate(grants: Grants, pods: Sequence[PodUse], limits: LedgerTerms) -> Round:
    """Shrink who must shrink, then grow who may, within what nobody is charged for.

    A terminating pod gets nothing any more and keeps its charge, lowered only by its own word. Pods that hold a grant
    come before pods that wait, and a pod that already has one more keeps it, so that nothing moves without need.
    """
    ended = {pod.uid for pod in pods if pod.ended}
    pods = [*(pod for pod in pods if pod.uid not in ended), *_lost(grants, pods, limits.now)]
    # A pod that has seen a higher sequence (somebody spoiled or deleted the ledger since) refuses all up to that one.
    seq = max([grants.seq, *(pod.seq or 0 for pod in pods)]) + 1
    held = {pod.uid: replace(_standing(grants, pod, limits.static), gone=pod.gone) for pod in pods}
    living = [pod.uid for pod in pods if not pod.terminating]
    targets = _targets(living, held, limits, _available(held, pods, limits.size))

    for uid in living:
        if targets.get(uid, held[uid].cap) < held[uid].cap:
            held[uid] = Grant(cap=targets[uid], seq=seq, high=_charge(held[uid]))
    free = limits.size - sum(map(_charge, held.values()))
    for uid in sorted(living, key=lambda each: not held[each].cap):
        have, charge = held[uid].cap, _charge(held[uid])
        cap = min(targets.get(uid, 0), (have or charge) + free)
        if cap > have and cap >= limits.floor:
            held[uid] = Grant(cap=cap, seq=seq, high=max(cap, charge))
            free += charge - held[uid].high
    for pod in pods:
        if pod.seq is not None and pod.seq > grants.seq:  # it has refused the ledger as it stands
            held[pod.uid] = replace(held[pod.uid], seq=seq)
    waiting = tuple(uid for uid in living if not held[uid].cap)
    peers = {pod.uid: pod.address for pod in pods if pod.address}
    peers_seq = grants.peers_seq if peers == grants.peers else seq
    unserved = any(pod.gone and not held[pod.uid].cap for pod in pods)  # it may wait still, somewhere
    static = 0 if waiting or unserved else limits.static
    origin = (limits.server, limits.allocation)
    after = Grants(seq, static, held, dict(sorted(peers.items())), peers_seq, *origin)
    urgent = _urgent(grants.peers, pods) or _awaited(grants, after, limits)
    return Round(_written(grants, after, urgent), sum(map(_charge, held.values())), waiting)


def charged(grants: Grants) -> int:
    """What the pods of a ledger are charged with, as it is written."""
    return sum(map(_charge, grants.pods.values()))


def kept(grants: Grants) -> int:
    """The connections that tombstones keep from the living."""
    return sum(_charge(each) for each in grants.pods.values() if each.gone)


def relief(grants: Grants) -> int | None:
    """When the next tombstone goes, in Unix seconds; None where there is none."""
    return min((each.gone + OUTLIVES + 1 for each in grants.pods.values() if each.gone), default=None)


def _lost(grants: Grants, pods: Sequence[PodUse], now: int) -> list[PodUse]:
    """The pods of the ledger that nobody sees any more, and whose sessions PostgreSQL may still count.

    A time to come is another operator's wrong clock: it must not hold connections for years.
    """
    missed = {uid: min(each.gone or now, now) for uid, each in grants.pods.items()}
    seen = {pod.uid for pod in pods}
    return [
        PodUse(uid, terminating=True, gone=gone)
        for uid, gone in missed.items()
        if uid not in seen and now - gone <= OUTLIVES
    ]


def _available(held: Mapping[str, Grant], pods: Sequence[PodUse], size: int) -> int:
    """What living pods may share: tombstones keep them from growing, and take nothing from what they hold together."""
    leaving = sum(_charge(held[pod.uid]) for pod in pods if pod.terminating and not pod.gone)
    lost = sum(_charge(held[pod.uid]) for pod in pods if pod.gone)
    standing = sum(held[pod.uid].cap for pod in pods if not pod.terminating)
    return max(size - leaving - lost, min(size - leaving, standing))


def _charge(grant: Grant) -> int:
    return max(grant.cap, grant.high)


def _standing(grants: Grants, pod: PodUse, static: int) -> Grant:
    """What the pod holds or may hold now, by the ledger and by its own word."""
    grant = grants.pods.get(pod.uid, Grant(cap=0, seq=grants.seq + 1, high=0))
    if grant.cap:
        return _confirmed(grant, pod)
    took = max(pod.cap or 0, pod.open or 0)
    if took:  # it helped itself: from now on this is its grant
        unread = grant.high if (pod.seq or 0) < grant.seq else 0
        most = max(took, unread, grants.static, static)  # one that drains may have lowered it just now
        if pod.terminating and most <= grant.high:
            return replace(grant, high=most)  # what is known already is not told to one that is given nothing any more
        return Grant(cap=took, seq=grants.seq + 1, high=most)
    if pod.cap is not None and pod.seq is not None and pod.seq >= grants.seq and not grants.static:
        return replace(grant, high=0)  # it has read the very ledger that offers nothing unasked
    return replace(grant, high=max(grant.high, grants.static, static))


def _confirmed(grant: Grant, pod: PodUse) -> Grant:
    """The grant as the pod's own word leaves it: never more than before."""
    if pod.seq is None or pod.cap is None or pod.open is None or pod.seq < grant.seq:
        return grant
    if pod.terminating:  # it lowers its own cap as its clients leave
        kept = min(_charge(grant), max(pod.cap, pod.open))
        return replace(grant, cap=min(grant.cap, kept), high=kept)
    if pod.cap <= grant.cap and pod.open <= grant.cap:
        return replace(grant, high=grant.cap)
    return grant


def _targets(living: Sequence[str], held: Mapping[str, Grant], limits: LedgerTerms, available: int) -> dict[str, int]:
    """Equal shares for as many living pods as the floor allows; holders first, larger holders get the remainder."""
    slots = min(max(limits.slots, len(living), 1), max(0, available) // limits.floor)
    order = sorted(living, key=lambda uid: (-held[uid].cap, uid))
    each, extra = divmod(max(0, available), slots) if slots else (0, 0)
    shares = {uid: each + (place < extra) for place, uid in enumerate(order) if place < slots}
    # A holder beyond the slots cannot be given 0 (PgBouncer would read it as unlimited): it falls to the floor.
    return {uid: limits.floor for uid in living if held[uid].cap} | shares


def _urgent(told: Mapping[str, str], pods: Sequence[PodUse]) -> bool:
    """Whether news of addresses are worth a write of their own; else they go along with the next.

    A pod alone needs none, and addresses that come one after the other are told together, but for one in use.
    """
    news = [pod for pod in pods if pod.address and told.get(pod.uid) != pod.address]
    if not news or sum(bool(pod.address) for pod in pods) < 2:
        return False
    return any(pod.serves for pod in news) or not any(pod.expected and not pod.address for pod in pods)


def _awaited(before: Grants, after: Grants, limits: LedgerTerms) -> bool:
    """Whether a PostgresServer waits for this ledger to say that its pods hold no more than the budget."""
    if (before.server, before.allocation) != (limits.server, limits.allocation):
        return True
    news = charged(before) > limits.size or before.pods.keys() != after.pods.keys()
    return limits.awaited and news and charged(after) <= limits.size


def _written(before: Grants, after: Grants, urgent: bool) -> Grants:
    """The ledger to write; `before` itself where no cap changes: a high that stays written too high is safe."""
    was, now = ({uid: (each.cap, each.gone) for uid, each in these.pods.items()} for these in (before, after))
    if was == now and not urgent and after.static == before.static and after.seq == before.seq + 1:
        return before
    return replace(after, pods=dict(sorted(after.pods.items())))
