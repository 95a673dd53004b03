"""Which grant of the ledger this pod may use. Pure; the grant before and the time waited are arguments."""

from dataclasses import dataclass, replace

from pgbouncer_operator.agent.mounts import Mounts


@dataclass(frozen=True, slots=True)
class AcceptedGrant:
    """The grant that this pod uses. It outlives a restart of the agent."""

    seq: int = 0
    """Highest sequence of the ledger that this pod has read."""
    cap: int = 0
    """The most server connections of this pod; 0 before the first grant."""
    since: int = 0
    """Sequence of the ledger that set `cap`.

    It grows with each change of this pod's grant, so that a grant of 5, then 10, then 5 are three grants. Grants of
    other pods do not change it.
    """


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The grant to use from now on."""

    grant: AcceptedGrant
    problem: str = ""
    """Why it is not the grant of the mounted ledger; empty when it is."""


def accept(mounts: Mounts, grant: AcceptedGrant, waited: float, static_after: float) -> Acceptance:
    """The grant to use after `grant`; its cap is 0 while the pod has none.

    waited: seconds since the agent started. static_after: seconds after which a pod without a grant uses the static
    share. A pod that has a grant keeps it when its entry is gone from the ledger: only the operator takes connections
    back, and it charges the pod until the pod has confirmed. A ledger with a lower sequence is the late write of an
    operator that does not lead any more, so the pod refuses it.
    """
    grants = mounts.grants
    if grants is None:
        return Acceptance(grant, mounts.grants_error)
    if grants.seq < grant.seq:
        return Acceptance(
            grant,
            f"the ledger went back from sequence {grant.seq} to {grants.seq}: the agent refuses the older one; "
            "wait, the operator writes a newer one",
        )
    entry = grants.pods.get(mounts.uid)
    if entry is not None and entry.cap > 0:
        return Acceptance(AcceptedGrant(grants.seq, entry.cap, entry.seq))
    if grant.cap:
        return Acceptance(replace(grant, seq=grants.seq))
    if waited >= static_after and grants.static > 0:
        return Acceptance(AcceptedGrant(grants.seq, grants.static, grants.seq))
    return Acceptance(AcceptedGrant(grants.seq), _no_grant(mounts, grants.static, static_after))


def _no_grant(mounts: Mounts, static: int, static_after: float) -> str:
    pod = mounts.uid or "(uid not mounted yet)"
    share = (
        f"after {static_after:g} s the pod uses the static share of {static}"
        if static > 0
        else "there is no static share: see that an operator runs"
    )
    return f"the ledger holds no grant for pod {pod}; {share}"
