"""A pool that moves from one PostgreSQL server to another: it does not grow before its pods have left the former. Pure.

The former server charges the pool with its allocation. Pods apply a new cap whatever configuration they run, so a pod
that still uses the former server must not get a higher one. The ledger names the former server until all pods have left
it. A restarted operator reads from there that the pool is moving.
"""

import json
from collections.abc import Iterator
from dataclasses import replace

from pgbouncer_operator import naming
from pgbouncer_operator.reconcile.budget import capacity
from pgbouncer_operator.reconcile.budget.capacity import Capacity
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.reconcile.observed import Membership, Observed
from pgbouncer_operator.reconcile.rollout.template import progress
from pgbouncer_operator.resources.desired import Desired, digest_of, room
from pgbouncer_operator.sizing.ledger import Round, charged

Servers = frozenset[tuple[object, object]]  # host and port


def decide(observed: Observed, wanted: Desired, size: int) -> Capacity:
    """As `capacity.decide`, but within the allocation at the former server while a pod may use that server."""
    if observed.former is None or observed.ledger is None or left(observed, wanted):
        return capacity.decide(observed, wanted, size)
    grants = observed.ledger.grants
    within = min(size, observed.former.connections)
    fitting = room(observed.spec, within)
    if fitting.shortage and not fitting.replicas:
        # No pod of the new spec fits into that. The pods and their caps stay, and get the new server.
        deployment = progress(observed, wanted)
        replicas = min(wanted.fit.replicas, deployment.replicas if deployment else 0)
        return Capacity(Round(grants, charged(grants), ()), replicas, may_roll=False)
    former = Membership(grants.server, replace(observed.former, seq=grants.allocation))
    return capacity.decide(replace(observed, membership=former), replace(wanted, fit=fitting), within)


def left(observed: Observed, wanted: Desired) -> bool:
    """Whether every living pod is known to run a configuration with the wanted server, and new pods will, too."""
    servers = _servers(wanted.config_map["data"][naming.INTENT_KEY])
    data = observed.config_map_data
    documents = [data.get(key, "") for key in (naming.INTENT_KEY, naming.CANDIDATE_KEY)]
    if observed.living and _servers(documents[0]) != servers:
        return False
    digests = {digest_of(text) for text in documents if _servers(text) == servers} | {wanted.intent.digest}
    return all(digest in digests for digest in _running(observed, observed.living))


def _running(observed: Observed, pods: tuple[PodView, ...]) -> Iterator[str | None]:
    """Hashes of the intents that pods run; None while unknown. A pod without a node or a configuration runs none."""
    for pod in pods:
        state = observed.states.get(pod.uid)
        if state is None and pod.placed:
            yield None
        elif state is not None and state.digest:
            yield state.digest


def _servers(document: str) -> Servers:
    """The servers that an intent's text names; none for a text that is no intent."""
    try:
        return frozenset((each["host"], each["port"]) for each in json.loads(document)["databases"])
    except (ValueError, KeyError, TypeError):
        return frozenset()
