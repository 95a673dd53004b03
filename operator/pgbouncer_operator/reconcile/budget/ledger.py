"""Reading the ledger back from its ConfigMap. Pure.

A ledger that somebody spoiled or deleted by hand is unknown, not empty: then every pod is charged with all it may have
had.
"""

from collections.abc import Mapping, Sequence

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.grants import Grant, Grants, GrantsError
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.cache.views import ChildView, PodView
from pgbouncer_operator.reconcile.observed import Ledger
from pgbouncer_operator.reconcile.rollout.delivery import told_seq

MOST = 10_000  # the highest serverConnections.max there is


def ledger(child: ChildView | None, pods: Sequence[PodView], states: Mapping[str, AgentState | None]) -> Ledger | None:
    """The ledger as it stands, None before the first one. resource_version 0: it is gone and must be made anew."""
    if child is None:
        known = any(told_seq(pod) for pod in pods) or any(state.seq for state in states.values() if state is not None)
        return Ledger(_recovered(pods, states), 0) if known else None
    text = child.unpack().get("data", {}).get(naming.GRANTS_KEY, "")
    try:
        return Ledger(Grants.from_json(text), child.resource_version)
    except GrantsError:
        return Ledger(_recovered(pods, states), child.resource_version, spoiled=True)


def _recovered(pods: Sequence[PodView], states: Mapping[str, AgentState | None]) -> Grants:
    """What the pods say they hold; a pod that does not answer may hold anything, so nobody grows until it does.

    Agents refuse a lower sequence, so it goes on from the highest that any pod has seen or was told of.
    """
    known = {pod.uid: state for pod in pods if (state := states.get(pod.uid)) is not None}
    seq = max([*(state.seq for state in known.values()), *map(told_seq, pods)], default=0) + 1
    found = {}
    for pod in pods:
        state = known.get(pod.uid)
        if state is None or state.seq < told_seq(pod):  # the latter may yet read what it was told of
            # It is told nothing: what would lower one that holds much would raise one that holds nothing yet.
            found[pod.uid] = Grant(cap=0, seq=seq, high=MOST)
        elif state.cap:
            found[pod.uid] = Grant(cap=state.cap, seq=seq, high=max(state.cap, state.open))
    return Grants(seq=seq, static=0, pods=found)
