"""What a leaving pod hands over: server connections that its successors need before it has gone. Pure.

A terminating pod gets no grant any more, so it decides alone. It lowers its shares, never raises one, and the operator
gives the difference to other pods once PgBouncer keeps to the lower shares.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.grant import AcceptedGrant
from pgbouncer_operator.pgbouncer import ini
from pgbouncer_operator.pgbouncer.composition import entries


@dataclass(frozen=True, slots=True)
class Handover:
    """What a leaving pod keeps. It outlives a restart of the agent.

    kubelet also runs the drain before it restarts a PgBouncer that hangs. That pod serves on, and yet it may have been
    deleted meanwhile, which a kubelet that is cut off from the API server does not know. So the operator may have given
    away what the pod handed over, and only a later ledger, which no deleted pod gets, gives it back.
    """

    shares: Mapping[str, int]
    """The most server connections of each database, from now on."""
    halves: Mapping[str, int]
    """Half of each database's share when the drain began, at least 1."""
    seq: int = 0
    """The sequence of the ledger that was mounted when the pod served again; 0 while it leaves."""


def begin(running: Candidate) -> Handover:
    """Before anything is handed over."""
    return Handover(dict(running.shares), {name: max(1, share // 2) for name, share in running.shares.items()})


def following(handover: Handover, running: Candidate, clients: Mapping[str, int], newcomers: bool) -> Handover:
    """What the pod keeps for the clients that it has now. No share rises, and each is at least 1.

    clients: by database; one that is not in it counts as busy. newcomers: whether new clients may still come to this
    pod. While they may, each database keeps half, and after that as much of the half as it has clients. In session mode
    it also keeps what its sessions hold, because only their clients can give that back, and one more for newcomers:
    they would wait for a session that may never end, until the drain's deadline ends them.
    """
    sessions = _sessions(running)
    shares = {}
    for name, share in handover.shares.items():
        half, has = handover.halves.get(name, 1), clients.get(name, share)
        needs = has + newcomers if name in sessions else min(has, half)
        shares[name] = min(share, max(half if newcomers else 1, needs))
    return replace(handover, shares=shares)


def over(handover: Handover, grant: AcceptedGrant) -> bool:
    """Whether the pod serves again, and a ledger that was written since gives it a grant."""
    return 0 < handover.seq < grant.since


def bounded(candidate: Candidate, handover: Handover) -> Candidate | None:
    """The candidate with no share above what the pod keeps; the same object when nothing changes.

    None where it has a database of which the handover knows nothing: such a database needs a connection that the pod
    may have handed over.
    """
    if not candidate.shares.keys() <= handover.shares.keys():
        return None
    shares = {name: min(share, handover.shares[name]) for name, share in candidate.shares.items()}
    cap = sum(shares.values())
    if shares == candidate.shares and cap == candidate.cap:
        return candidate
    return replace(candidate, cap=cap, composition=replace(candidate.composition, shares=shares))


def _sessions(running: Candidate) -> frozenset[str]:
    """The databases in session mode."""
    composition = running.composition
    own = str(composition.intent.settings.get("pool_mode", ini.defaults(0)["pool_mode"]))
    served = (*entries(composition.intent), *composition.lingering)
    return frozenset(each.name for each in served if (each.pool_mode or own) == "session")
