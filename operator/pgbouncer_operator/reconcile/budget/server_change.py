"""A pool that moves from one PostgreSQL server to another: it does not grow before its pods have left the former. Pure.

So does a pool whose PostgresServer gets another host or port.

The former server charges the pool with its allocation. Pods apply a new cap whatever configuration they run, so a pod
that still uses the former server must not get a higher one. The ledger names the former server until all pods have left
it. A restarted operator reads from there that the pool is moving.
"""

import json
from collections.abc import Iterator
from dataclasses import replace

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.state import STALE
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
    member = observed.membership
    former = dict(member.entry.former) if member is not None and member.entry is not None else {}
    if (observed.former is None and not former) or observed.ledger is None or left(observed, wanted):
        return capacity.decide(replace(observed, membership=_reached(observed, wanted)), wanted, size)
    grants = observed.ledger.grants
    within = min([size, *former.values(), *([observed.former.connections] if observed.former else [])])
    fitting = room(observed.spec, within)
    if fitting.shortage and not fitting.replicas:
        # No pod of the new spec fits into that. The pods and their caps stay, and get the new server.
        deployment = progress(observed, wanted)
        replicas = min(wanted.fit.replicas, deployment.replicas if deployment else 0)
        return Capacity(Round(grants, charged(grants), ()), replicas, may_roll=False)
    if observed.former is not None:
        member = Membership(grants.server, replace(observed.former, seq=grants.allocation))
    return capacity.decide(replace(observed, membership=member), replace(wanted, fit=fitting), within)


def left(observed: Observed, wanted: Desired) -> bool:
    """Whether every living pod is known to run a configuration with the wanted server, and new pods will, too."""
    servers = _servers(wanted.config_map["data"][naming.INTENT_KEY])
    if observed.living and _servers(observed.config_map_data.get(naming.INTENT_KEY, "")) != servers:
        return False
    digests = _digests(observed, wanted)
    return all(digest in digests for digest in _running(observed, observed.living))


def _digests(observed: Observed, wanted: Desired) -> set[str]:
    """Hashes of the intents with the wanted server that pods may run."""
    servers = _servers(wanted.config_map["data"][naming.INTENT_KEY])
    documents = [observed.config_map_data.get(key, "") for key in (naming.INTENT_KEY, naming.CANDIDATE_KEY)]
    return {digest_of(text) for text in documents if _servers(text) == servers} | {wanted.intent.digest}


def watched(observed: Observed, wanted: Desired) -> Observed:
    """The observation with a memory of the pods that have left the former host and port of their PostgresServer.

    A pod renews its server connections before it reports a configuration with another host. Those that are in use then
    end with their transaction. None of them is left once the pod was seen with none in use, by figures that are not
    older than the report.
    """
    if observed.membership is None or not observed.membership.leaves_for:
        return observed.remember(arrived={})
    digests, arrived = _digests(observed, wanted), dict[str, float | None]()
    for pod in observed.pods:
        state = observed.states.get(pod.uid)
        if state is not None and state.digest in digests:
            since = observed.memory.arrived.get(pod.uid, observed.now)
            quiet = since is not None and observed.now - since > STALE and not state.stale and not state.busy
            arrived[pod.uid] = None if quiet else since
    return observed.remember(arrived=arrived)


def _reached(observed: Observed, wanted: Desired) -> Membership | None:
    """The pool's place, with the host and port at which all of its connections are."""
    member, grants = observed.membership, observed.ledger.grants if observed.ledger else None
    if member is None or grants is None or not member.leaves_for:
        return member
    written = _servers(observed.config_map_data.get(naming.INTENT_KEY, ""))
    if written and written != _servers(wanted.config_map["data"][naming.INTENT_KEY]):
        return member  # a pod may just start with it
    running = {pod.uid for pod in observed.pods if pod.placed and not pod.ended}
    running |= grants.pods.keys() - {pod.uid for pod in observed.pods} - observed.ended
    left_all = all(observed.memory.arrived.get(uid, 0.0) is None for uid in running)
    return replace(member, reached=member.leaves_for) if left_all else member


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
