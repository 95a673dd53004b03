"""The states of the walked ledger: pods, what they have read, what the ledger says of each; and a pod's own moves."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from pgbouncer_operator.agent import grant
from pgbouncer_operator.agent.grant import AcceptedGrant
from pgbouncer_operator.agent.mounts import Mounts
from pgbouncer_operator.protocol.grants import Grant, Grants

STATIC_AFTER = 10.0
NEWEST = 20  # the sequence of the ledger as it is written; all that is older is numbered from 1
Entry = tuple[int, int, int, bool]  # cap, seq, high, and whether it is a tombstone


class Mounted(NamedTuple):
    """What of a ledger concerns one pod. cap: 0 without an entry."""

    seq: int
    static: int
    cap: int


class Pod(NamedTuple):
    """seq, cap: what its agent has accepted. holds: what PgBouncer may have. said: (seq, cap) as it has verified them.

    mounted: the ledger on its disk, read or not. former: an older one, which a stale cache may bring back.
    keeps: what it says that it keeps for good, once it has handed over. entry: what the ledger says of it.
    coming: what it would say after the decision that is not written yet. lost: its object is gone, and it goes on
    without anybody who can ask it. unlabelled: its object has lost the label, and it can be asked.
    """

    terminating: bool = False
    draining: bool = False
    seq: int = 0
    cap: int = 0
    holds: int = 0
    said: tuple[int, int] = (0, 0)
    mounted: Mounted | None = None
    former: Mounted | None = None
    entry: Entry | None = None
    coming: Entry | None = None
    lost: bool = False
    keeps: int | None = None
    unlabelled: bool = False


class Plan(NamedTuple):
    """A decided ledger. ghosts: it speaks of pods that are gone by now. budget: what it was decided for."""

    seq: int
    static: int
    budget: int
    ghosts: bool = False


class Now(NamedTuple):
    """A state. static: the ledger's, None when somebody deleted the ledger. ghosts: it speaks of pods that are gone."""

    static: int | None
    budget: int
    pods: tuple[Pod, ...] = ()
    ghosts: bool = False
    plan: Plan | None = None


class Grown(NamedTuple):
    """A move of a pod. unasked: it helps itself to the static share."""

    name: str
    pod: Pod
    unasked: bool = False


def moves(pod: Pod, static: int | None, size: Any) -> Iterator[Grown]:
    """What a pod, its agent and its kubelet can do next. size: see ledger_space.Size."""
    if size.force and pod.entry is not None and not pod.lost:
        yield Grown("is deleted by force", pod._replace(lost=True))
    if size.unlabel and pod.entry is not None and not pod.lost:
        yield Grown("has its label back" if pod.unlabelled else "loses its label", _relabelled(pod))
    if not pod.terminating:
        yield Grown("is told to go", pod._replace(terminating=True))
    elif pod.cap:
        yield Grown("drains", pod._replace(draining=True, cap=min(pod.cap, size.databases)))
        yield Grown("hands over", pod._replace(draining=True, cap=max(min(pod.cap, size.databases), pod.cap // 2)))
    if pod.cap:
        keeps = pod.cap if pod.draining else None
        yield Grown("comes below its cap", pod._replace(holds=pod.cap, said=(pod.seq, pod.cap), keeps=keeps))
        if size.hasty:
            yield Grown("reloads", pod._replace(said=(pod.seq, pod.cap), keeps=keeps))
    yield Grown("has a new agent", pod._replace(said=(0, 0), keeps=None))
    if not pod.draining:
        yield from _readings(pod, static, size)


def _relabelled(pod: Pod) -> Pod:
    return pod._replace(unlabelled=not pod.unlabelled)


def _readings(pod: Pod, static: int | None, size: Any) -> Iterator[Grown]:
    if static is not None:
        newest = Mounted(NEWEST, static, pod.entry[0] if pod.entry else 0)
        yield Grown("mounts", pod._replace(mounted=newest))
        if size.back:
            kept = pod.mounted or Mounted(pod.seq, 0, pod.cap)
            yield Grown("mounts, and a cache keeps what was", pod._replace(mounted=newest, former=kept))
        if pod.mounted == newest and not pod.cap and not pod.terminating:  # after so long it has the newest
            yield Grown("helps itself", read(pod, STATIC_AFTER), unasked=True)
    if pod.former is not None:
        yield Grown("mounts what was", pod._replace(mounted=pod.former, former=None))
    if pod.mounted is not None:
        yield Grown("reads", read(pod, 0.0))


def read(pod: Pod, waited: float) -> Pod:
    """Its agent takes what is mounted, by its own rule, and PgBouncer all that it may."""
    assert pod.mounted is not None
    seq, static, cap = pod.mounted
    mounts = Mounts(uid="me", grants=Grants(seq, static, {"me": Grant(cap, seq, cap)} if cap else {}))
    seen = grant.accept(mounts, AcceptedGrant(pod.seq, pod.cap), waited, STATIC_AFTER).grant
    return pod._replace(seq=seen.seq, cap=seen.cap, holds=max(pod.holds, seen.cap))


def may_hold(pod: Pod, static: int | None) -> int:
    """The most that the pod can come to hold by what it has and by what was already written."""
    found = max(pod.holds, pod.cap)
    if pod.draining:
        return found
    for each in (pod.mounted, pod.former):
        if each is not None and each.seq >= pod.seq:
            found = max(found, each.cap)
    if pod.entry is None or pod.seq > NEWEST:
        return found
    unasked = static or 0 if not pod.cap and not pod.entry[0] and not pod.terminating else 0
    return max(found, pod.entry[0], unasked)


def forget(pod: Pod, top: int) -> Pod:
    """The same pod without what it will never look at again, its sequences numbered by their order. top: the newest.

    A pod's sequences are compared with one another, with those that the ledger has for this very pod, and with the
    ledger's own; what it has verified, only with the ledger's.
    """
    mounted, former = pod.mounted, pod.former
    if pod.draining:
        mounted = former = None
    if mounted and not former and pod.cap and (mounted.seq, mounted.cap) == (pod.seq, pod.cap):
        mounted = None  # read
    if pod.lost:
        pod = pod._replace(said=(0, 0), keeps=None)  # nobody hears it
    own = {each[1] for each in (pod.entry, pod.coming) if each} | {top}
    said = max((seq for seq in own if seq <= pod.said[0]), default=0)
    known = own | {pod.seq, said} | {each.seq for each in (mounted, former) if each}
    rank = {seq: number for number, seq in enumerate(sorted(each for each in known if 0 < each < top), start=1)}
    rank |= {seq: NEWEST + seq - top for seq in known if seq >= top}
    rank[0] = 0
    return Pod(
        pod.terminating, pod.draining, rank[pod.seq], pod.cap, pod.holds, (rank[said], pod.said[1] if said else 0),
        mounted and mounted._replace(seq=rank[mounted.seq]), former and former._replace(seq=rank[former.seq]),
        pod.entry and (pod.entry[0], rank[pod.entry[1]], *pod.entry[2:]),
        pod.coming and (pod.coming[0], rank[pod.coming[1]], *pod.coming[2:]), pod.lost, pod.keeps, pod.unlabelled,
    )  # fmt: skip
