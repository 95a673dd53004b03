"""Reading the ledger back from its ConfigMap. Pure.

A ledger that somebody spoiled by hand is unknown, not empty: then every pod is charged with all it may have had.
"""

from collections.abc import Mapping

from pgbouncer_operator import naming
from pgbouncer_operator.pgbouncer.grants import Grant, Grants, GrantsError
from pgbouncer_operator.reconcile.agent_state import AgentState
from pgbouncer_operator.reconcile.observed import Ledger
from pgbouncer_operator.reconcile.projections import ChildView

MOST = 10_000  # the highest serverConnections.max there is


def ledger(child: ChildView | None, states: Mapping[str, AgentState | None]) -> Ledger | None:
    """The ledger as it stands, None before the first one."""
    if child is None:
        return None
    text = child.unpack().get("data", {}).get(naming.GRANTS_KEY, "")
    try:
        return Ledger(Grants.from_json(text), child.resource_version)
    except GrantsError:
        return Ledger(_recovered(states), child.resource_version)


def _recovered(states: Mapping[str, AgentState | None]) -> Grants:
    """What the pods say they hold; a pod that does not answer may hold anything, so nobody grows until it does.

    Agents refuse a lower sequence, so it goes on from the highest that one has seen.
    """
    seq = max((state.seq for state in states.values() if state is not None), default=0) + 1
    pods = {}
    for uid, state in states.items():
        if state is None:
            pods[uid] = Grant(cap=1, seq=seq, high=MOST)
        elif state.cap:
            pods[uid] = Grant(cap=state.cap, seq=seq, high=max(state.cap, state.open))
    return Grants(seq=seq, static=0, pods=pods)
