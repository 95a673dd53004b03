"""Which cap of the ledger this pod may act on. Pure; memory and the time waited are arguments."""

from dataclasses import dataclass, replace

from pgbouncer_operator.agent.mounts import Mounts


@dataclass(frozen=True, slots=True)
class Seen:
    """What this pod has accepted, across restarts of the agent. seq: of the ledger.

    cap: server connections, 0 before any grant. since: the ledger's sequence when this cap was set; it grows with each
    word about this pod, so 5 → 10 → 5 is never taken for one 5, and other pods' grants are no change for this one.
    """

    seq: int = 0
    cap: int = 0
    since: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """The right this pod acts on; `complaint` says why it is not the mounted ledger's, or is empty."""

    seen: Seen
    complaint: str = ""


def hold(mounts: Mounts, seen: Seen, waited: float, static_after: float) -> Held:
    """The cap to act on now; its cap is 0 while there is none.

    waited: seconds since the agent began to look. A pod that has once held a cap keeps it when its entry is gone: only
    the operator takes a cap back, and it charges the pod until this has happened. An older ledger than one seen is the
    late write of somebody who no longer leads, so it is refused.
    """
    grants = mounts.grants
    if grants is None:
        return Held(seen, mounts.grants_error)
    if grants.seq < seen.seq:
        return Held(seen, f"the ledger went back from sequence {seen.seq} to {grants.seq}: the older one is refused")
    entry = grants.pods.get(mounts.uid)
    if entry is not None and entry.cap > 0:
        return Held(Seen(grants.seq, entry.cap, entry.seq))
    if seen.cap:
        return Held(replace(seen, seq=grants.seq))
    if waited >= static_after and grants.static > 0:
        return Held(Seen(grants.seq, grants.static, grants.seq))
    return Held(Seen(grants.seq), _lacking(mounts, grants.static, static_after))


def _lacking(mounts: Mounts, static: int, static_after: float) -> str:
    rest = (
        f"it takes the static share of {static} after {static_after:g} s" if static > 0 else "there is no static share"
    )
    return f"the ledger holds no grant for pod {mounts.uid or '(uid not mounted yet)'}; {rest}"
