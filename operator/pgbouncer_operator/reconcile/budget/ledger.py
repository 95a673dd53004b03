"""Reads the ledger back from its ConfigMap. Pure.

A ledger that was damaged or deleted is unknown, not empty: every pod is then charged with all that it may have had.
"""

from collections.abc import Mapping, Sequence

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.grants import MOST as HIGHEST
from pgbouncer_operator.protocol.grants import Grant, Grants, GrantsError
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.cache.views import ChildView, PodView
from pgbouncer_operator.reconcile.observed import Ledger
from pgbouncer_operator.reconcile.rollout.delivery import told_seq

MOST = 10_000  # the highest serverConnections.max that the CRD accepts


def ledger(child: ChildView | None, pods: Sequence[PodView], states: Mapping[str, AgentState | None]) -> Ledger | None:
    """The pool's ledger; None before the first one. resource_version 0: it was deleted and has to be created again."""
    if child is None:
        existed = any(told_seq(pod) for pod in pods) or any(state.seq for state in states.values() if state is not None)
        return Ledger(_recovered(pods, states), 0) if existed else None
    text = child.data.get(naming.GRANTS_KEY, "")
    try:
        return Ledger(Grants.from_json(text), child.resource_version)
    except GrantsError:
        return Ledger(_recovered(pods, states), child.resource_version, spoiled=True)


def _recovered(pods: Sequence[PodView], states: Mapping[str, AgentState | None]) -> Grants:
    """A ledger of what the pods report. A pod that does not answer may hold anything, so no pod grows until it does.

    Agents refuse a lower sequence, so the sequence continues from the highest that any pod has applied or was poked
    for.
    """
    answers = {pod.uid: state for pod in pods if (state := states.get(pod.uid)) is not None}
    seq = max([*(state.seq for state in answers.values()), *map(told_seq, pods)], default=0) + 1
    recovered = {}
    for pod in pods:
        state = answers.get(pod.uid)
        if state is not None and pod.terminating and state.keeps is not None:  # it reads no ledger any more
            recovered[pod.uid] = Grant(cap=state.keeps, seq=seq, high=max(state.keeps, state.open))
        elif state is None or state.seq < told_seq(pod):  # it may still read the ledger that it was poked for
            # It gets no cap: a cap that lowers a pod with many connections would raise one that has none yet.
            recovered[pod.uid] = Grant(cap=0, seq=seq, high=MOST)
        elif state.cap:
            cap, most = min(state.cap, HIGHEST), min(max(state.cap, state.open), HIGHEST)
            recovered[pod.uid] = Grant(cap=cap, seq=seq, high=most)
    return Grants(seq=seq, static=0, pods=recovered)
