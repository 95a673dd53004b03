"""The ledger: how many server connections each pod may hold, so that the sum never exceeds the pool's size. Pure.

Lower one pod, wait until that pod confirms it, and only then raise another. A pod is charged with the most that it may
still hold: its cap, or the higher cap that it has not yet confirmed to have left. The caller writes the result with
compare-and-swap before any pod grows.

A pod is dropped once it is known to run nothing. A pod whose object disappears without that knowledge (deleted by
force, its node removed, or the operator was away) leaves a tombstone: it may still run, or PostgreSQL may still count
its sessions. A tombstone is charged like a pod that drains and does not answer, for as long as such sessions can last.

A pod whose object has lost the pool's label is unlabelled: it may still serve clients. It has a tombstone, too. Once
another pod lives, its grant falls to the floor, and what it confirms to have given back goes to the others.

A pod that waits for its first grant may take the ledger's `static` part by itself, so an entry with cap 0 is charged
with that part. While no grant can be given to a waiting pod, `static` is 0 and the pod waits on. Only what pods took
while no operator ran can exceed the size.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from pgbouncer_operator.pgbouncer.session import OUTLIVES
from pgbouncer_operator.protocol.grants import Grant, Grants


@dataclass(frozen=True, slots=True)
class PodUse:
    """A pod, and what its agent reported last."""

    uid: str
    """The pod's UID."""
    terminating: bool
    """Whether the pod drains or has finished: it gets no more connections."""
    seq: int | None = None
    """The ledger's sequence that the pod has applied; None while unknown."""
    cap: int | None = None
    """Server connections that the pod limits itself to; None while unknown."""
    open: int | None = None
    """Server connections that the pod has open; None while unknown."""
    keeps: int | None = None
    """Server connections that a leaving pod limits itself to for good; None while it has handed nothing over."""
    address: str = ""
    """The pod's IP; empty before it has one."""
    serves: bool = False
    """Whether clients may be connected."""
    expected: bool = False
    """Whether its address is about to come."""
    ended: bool = False
    """Whether the pod is known to run nothing, whether or not its object still exists."""
    unlabelled: bool = False
    """Whether its object exists without the pool's label: it gets no more connections, and gives back what it can."""
    gone: int = 0
    """See Grant."""
    name: str = ""
    """The pod's name; empty for one whose object is gone."""


@dataclass(frozen=True, slots=True)
class LedgerTerms:
    """What the pods' caps have to respect."""

    size: int
    """Server connections of all pods together."""
    floor: int
    """Server connections that a pod needs at least."""
    slots: int
    """Pods to divide the size by."""
    static: int
    """See Fit."""
    server: str = ""
    """The PostgresServer that gives the allocation, as `namespace/name`; empty without one."""
    allocation: int = 0
    """The round of that allocation."""
    reached: str = ""
    """The host and port at which all server connections of the pods are, where the server waits to know that."""
    awaited: bool = False
    """Whether other pools wait until this pool's charge falls to its size."""
    now: int = 0
    """Unix seconds."""
    outlives: int = OUTLIVES
    """Seconds for which PostgreSQL may count the sessions of a lost pod."""
    lasting: frozenset[str] = frozenset()
    """UIDs of lost pods that are charged whatever time their tombstones have."""


@dataclass(frozen=True, slots=True)
class Round:
    """One decision."""

    grants: Grants
    """The ledger to write: the same object as before when nothing changes."""
    charged: int
    """Server connections that pods may hold at this instant, with those that need no grant."""
    waiting: tuple[str, ...]
    """UIDs of living pods that hold no grant yet."""

    def room(self, size: int) -> int:
        """Server connections of the size that no pod is charged with."""
        return max(0, size - self.charged)


def allocate(grants: Grants, pods: Sequence[PodUse], limits: LedgerTerms) -> Round:
    """Lower the pods that have too much, then raise others by what no pod is charged with.

    A terminating pod gets nothing more. It keeps its charge until it reports less. Pods that hold a grant come before
    pods that wait, and a pod that already has one more than others keeps it, so that nothing moves without need.
    """
    pods = _charged_pods(grants, pods, limits)
    # A pod that applied a higher sequence refuses all up to that one: the ledger was damaged or deleted since.
    seq = max([grants.seq, *(pod.seq or 0 for pod in pods)]) + 1
    held = {pod.uid: replace(_standing(grants, pod, limits.static), gone=pod.gone) for pod in pods}
    living = [pod.uid for pod in pods if not pod.terminating and not pod.unlabelled]
    targets = _targets(living, held, limits, _available(held, pods, limits.size))

    for uid, target in (targets | _unlabelled_targets(held, pods, limits)).items():
        if target < held[uid].cap:
            held[uid] = replace(held[uid], cap=target, seq=seq, high=_charge(held[uid]))
    free = limits.size - sum(map(_charge, held.values()))
    for uid in sorted(living, key=lambda each: not held[each].cap):
        have, charge = held[uid].cap, _charge(held[uid])
        cap = min(targets.get(uid, 0), (have or charge) + free)
        if cap > have and cap >= limits.floor:
            held[uid] = Grant(cap=cap, seq=seq, high=max(cap, charge))
            free += charge - held[uid].high
    for pod in pods:
        if pod.seq is not None and pod.seq > grants.seq:  # it refuses the present ledger
            held[pod.uid] = replace(held[pod.uid], seq=seq)
    waiting = tuple(uid for uid in living if not held[uid].cap)
    peers = {pod.uid: pod.address for pod in pods if pod.address}
    peers_seq = grants.peers_seq if peers == grants.peers else seq
    unserved = any(pod.gone and not held[pod.uid].cap for pod in pods)  # it may still run and wait
    static = 0 if waiting or unserved else limits.static
    origin = (limits.server, limits.allocation, limits.size, limits.reached)
    after = Grants(seq, static, _named(grants, held, pods), dict(sorted(peers.items())), peers_seq, *origin)
    urgent = _urgent(grants.peers, pods) or _awaited(grants, after, limits)
    return Round(_written(grants, after, urgent), sum(map(_charge, held.values())), waiting)


def charged(grants: Grants) -> int:
    """Server connections that the pods of a ledger are charged with, as it is written."""
    return sum(map(_charge, grants.pods.values()))


def held(grants: Grants, pods: Set[str]) -> int:
    """Most server connections that the pods of a ledger may hold, with what pods without a grant may take.

    pods: UIDs of all pods that exist. A pod of the ledger that no longer exists still counts, until the pool's ledger
    drops it.
    """
    newborn = sum(1 for uid in pods if uid not in grants.pods)
    granted = (max(each.cap, each.high, 0 if each.cap else grants.static) for each in grants.pods.values())
    return sum(granted) + grants.static * newborn


def kept(grants: Grants) -> int:
    """Server connections that tombstones keep from the living pods."""
    return sum(_charge(each) for each in grants.pods.values() if each.gone)


def relief(tombstone: Grant, outlives: int = OUTLIVES) -> int:
    """When the tombstone expires by the time that it names, in Unix seconds."""
    return tombstone.gone + outlives + 1


def _charged_pods(grants: Grants, pods: Sequence[PodUse], limits: LedgerTerms) -> list[PodUse]:
    """The pods that may hold connections: those that are observed and have not ended, and the lost ones."""
    others = {pod.uid for pod in pods if pod.ended or pod.unlabelled}
    return [*(pod for pod in pods if pod.uid not in others), *_lost(grants, pods, limits)]


def _lost(grants: Grants, pods: Sequence[PodUse], limits: LedgerTerms) -> list[PodUse]:
    """The pods of the ledger that are unlabelled, or no longer exist while PostgreSQL may still count their sessions.

    A time in the future comes from another operator's wrong clock: it counts as now, or it would hold connections for
    years.
    """
    missed = {uid: min(each.gone or limits.now, limits.now) for uid, each in grants.pods.items()}
    existing = {pod.uid for pod in pods if not pod.unlabelled}
    unlabelled = {pod.uid: pod for pod in pods if pod.unlabelled}
    lasting = limits.lasting | unlabelled.keys()
    return [
        replace(unlabelled.get(uid, PodUse(uid, terminating=True)), gone=gone)
        for uid, gone in missed.items()
        if uid not in existing and (uid in lasting or limits.now - gone <= limits.outlives)
    ]


def _named(grants: Grants, held: Mapping[str, Grant], pods: Sequence[PodUse]) -> dict[str, Grant]:
    """The grants with the names of their pods."""
    names = {uid: each.pod for uid, each in grants.pods.items()} | {pod.uid: pod.name for pod in pods if pod.name}
    return {uid: replace(each, pod=names.get(uid, "")) for uid, each in held.items()}


def _available(held: Mapping[str, Grant], pods: Sequence[PodUse], size: int) -> int:
    """What living pods may divide.

    Tombstones keep living pods from growing. They take nothing from what the living pods already hold together.
    """
    leaving = sum(_charge(held[pod.uid]) for pod in pods if pod.unlabelled or (pod.terminating and not pod.gone))
    lost = sum(_charge(held[pod.uid]) for pod in pods if pod.gone and not pod.unlabelled)
    living = sum(held[pod.uid].cap for pod in pods if not pod.terminating and not pod.unlabelled)
    return max(size - leaving - lost, min(size - leaving, living))


def _charge(grant: Grant) -> int:
    """Most server connections that the grant's pod may hold."""
    return max(grant.cap, grant.high)


def _standing(grants: Grants, pod: PodUse, static: int) -> Grant:
    """What the pod holds or may hold now, by the ledger and by its own report."""
    grant = grants.pods.get(pod.uid, Grant(cap=0, seq=grants.seq + 1, high=0))
    if grant.cap and _stays(grant, pod):  # from now on its own cap is its grant: it grows again as others do
        return Grant(cap=pod.cap or 0, seq=grants.seq + 1, high=_charge(grant))
    if grant.cap:
        return _confirmed(grant, pod)
    took = max(pod.cap or 0, pod.open or 0)
    if took:  # it took connections without a grant: from now on this is its grant
        unread = grant.high if (pod.seq or 0) < grant.seq else 0
        most = max(took, unread, grants.static, static)  # a pod that drains may have lowered its cap just now
        if pod.terminating and most <= grant.high:
            return replace(grant, high=most)  # a new sequence would tell nothing to a pod that gets no more connections
        return Grant(cap=took, seq=grants.seq + 1, high=most)
    if pod.cap is not None and pod.seq is not None and pod.seq >= grants.seq and not grants.static:
        return replace(grant, high=0)  # it has read the ledger that offers nothing without a grant
    return replace(grant, high=max(grant.high, grants.static, static))


def _stays(grant: Grant, pod: PodUse) -> bool:
    """Whether the pod has handed over and yet does not leave: it has read its grant, and runs under a lower cap."""
    return not pod.terminating and (pod.seq or 0) >= grant.seq and 0 < (pod.cap or 0) < grant.cap


def _confirmed(grant: Grant, pod: PodUse) -> Grant:
    """The grant after the pod's own report: never more than before."""
    # A leaving pod that has handed over reads no ledger any more, so it may never apply the last one that names it.
    keeps = pod.keeps if pod.terminating else None
    if pod.seq is None or pod.cap is None or pod.open is None or (keeps is None and pod.seq < grant.seq):
        return grant
    if pod.terminating:  # a draining agent lowers its own cap as its clients leave
        kept = min(_charge(grant), max(pod.cap if keeps is None else keeps, pod.open))
        return replace(grant, cap=min(grant.cap, kept), high=kept)
    if pod.cap <= grant.cap and pod.open <= grant.cap:
        return replace(grant, high=grant.cap)
    return grant


def _targets(living: Sequence[str], held: Mapping[str, Grant], limits: LedgerTerms, available: int) -> dict[str, int]:
    """Equal parts for as many living pods as the floor allows. Holders come first, and larger holders get the
    remainder.
    """
    slots = min(max(limits.slots, len(living), 1), max(0, available) // limits.floor)
    order = sorted(living, key=lambda uid: (-held[uid].cap, uid))
    each, extra = divmod(max(0, available), slots) if slots else (0, 0)
    shares = {uid: each + (place < extra) for place, uid in enumerate(order) if place < slots}
    # A holder beyond the slots falls to the floor: PgBouncer would read a limit of 0 as "no limit".
    return {uid: limits.floor for uid in living if held[uid].cap} | shares


def _unlabelled_targets(held: Mapping[str, Grant], pods: Sequence[PodUse], limits: LedgerTerms) -> dict[str, int]:
    """The most for each unlabelled pod: the floor once another pod lives that can serve instead, or else what fits.

    No lower than the floor: its clients are still connected, and PgBouncer would read a limit of 0 as "no limit".
    """
    uids = [pod.uid for pod in pods if pod.unlabelled and not pod.terminating]
    succeeded = any(not pod.unlabelled and not pod.terminating for pod in pods)
    others = sum(_charge(grant) for uid, grant in held.items() if uid not in uids)
    fits = limits.floor if succeeded else (limits.size - others) // max(1, len(uids))
    return dict.fromkeys(uids, max(limits.floor, fits))


def _urgent(peers: Mapping[str, str], pods: Sequence[PodUse]) -> bool:
    """Whether new addresses justify a write of their own; otherwise they go with the next write.

    A pod alone needs no addresses. Addresses that come one after the other are written together, unless one of them
    already serves clients.
    """
    news = [pod for pod in pods if pod.address and peers.get(pod.uid) != pod.address]
    if not news or sum(bool(pod.address) for pod in pods) < 2:
        return False
    return any(pod.serves for pod in news) or not any(pod.expected and not pod.address for pod in pods)


def _awaited(before: Grants, after: Grants, limits: LedgerTerms) -> bool:
    """Whether a PostgresServer waits for this ledger to say that its pods hold no more than the size."""
    if (before.server, before.allocation) != (limits.server, limits.allocation):
        return True
    if limits.reached not in ("", before.reached):
        return True
    news = charged(before) > limits.size or before.pods.keys() != after.pods.keys()
    return limits.awaited and news and charged(after) <= limits.size


def _written(before: Grants, after: Grants, urgent: bool) -> Grants:
    """The ledger to write: `before` itself where no cap changes. A `high` that stays too high in writing is safe."""
    was, now = ({uid: (each.cap, each.gone) for uid, each in these.pods.items()} for these in (before, after))
    if was == now and not urgent and after.static == before.static and after.seq == before.seq + 1:
        return before
    return replace(after, pods=dict(sorted(after.pods.items())))
