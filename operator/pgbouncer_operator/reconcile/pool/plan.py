"""From what is seen to what is written. Pure: the same look gives the same plan, and a perfect apply leaves nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.reconcile.budget.capacity import Capacity
from pgbouncer_operator.reconcile.budget.server_change import decide
from pgbouncer_operator.reconcile.budget.size import pool_size
from pgbouncer_operator.reconcile.cache import endpoints
from pgbouncer_operator.reconcile.cache.views import ChildView
from pgbouncer_operator.reconcile.memory import Missing
from pgbouncer_operator.reconcile.observed import Observed, ObservedInvalid
from pgbouncer_operator.reconcile.pause import look_again
from pgbouncer_operator.reconcile.pool.drift import drift
from pgbouncer_operator.reconcile.rollout.canary import next_rollout
from pgbouncer_operator.reconcile.rollout.delivery import pokes
from pgbouncer_operator.reconcile.rollout.last_change import track
from pgbouncer_operator.reconcile.rollout.template import rolls
from pgbouncer_operator.reconcile.server import membership
from pgbouncer_operator.reconcile.status.conditions import Decided
from pgbouncer_operator.reconcile.status.report import report
from pgbouncer_operator.reconcile.steps import Action, Plan, Step
from pgbouncer_operator.resources.configuration import config_map
from pgbouncer_operator.resources.connection_secret import connection_secret, connection_secrets
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.resources.desired import Body, Desired, desired, dress, redress
from pgbouncer_operator.resources.grants import grants_config_map
from pgbouncer_operator.sizing.ledger import relief

RETRY_REFUSED = 5.0  # seconds until a refused write is tried again


def plan(observed: Observed | ObservedInvalid, platform: Platform) -> Plan:
    """Every write that brings the cluster one step closer, and what the user is told."""
    if observed.view.deleting:
        return Plan((), (), None, observed.memory)  # children go by their ownerReferences
    if membership.waits(observed):
        return _waiting(observed)
    if observed.memory.waiting_since is not None:
        observed = observed.remember(waiting_since=None)
    if isinstance(observed, ObservedInvalid):
        return report(observed, Decided(None, None), ())
    pool = observed.spec
    size = pool_size(observed)
    wanted = desired(pool, platform, size.size)
    capacity = decide(observed, wanted, size.size)
    if wanted.fit.shortage and not wanted.fit.replicas:
        # Not one pod fits: a slip of the pen must not stop a pool, so what runs keeps its configuration and its grants.
        return report(observed, Decided(wanted, capacity, size=size), ())
    if observed.pause:
        body = config_map(pool, wanted.intent, observed.pause.document)
        wanted = replace(wanted, config_map=dress(pool, body))
    observed = track(observed, wanted)
    way, documents = next_rollout(observed, wanted), membership.documents(observed)
    observed = observed.remember(trial=way.trial)
    wanted = replace(
        wanted, config_map=redress(pool, wanted.config_map, wanted.config_map["data"] | way.documents | documents)
    )
    first = [
        *_ledger(observed, pool, capacity),
        *_children(observed, wanted),
        *_connection_secrets(observed, pool),
    ]
    poked, memory = pokes(observed, way.tell, capacity.round.grants)
    known = endpoints.token(observed.view.backend, observed.endpoints) or observed.memory.endpoints
    observed = observed.remember(poked=memory, endpoints=known)
    second = [*poked, *_deployment(observed, wanted, capacity, tried=not way.candidate)]
    keys = {step.key for step in (*first, *second)}
    observed = observed.remember(refusals={key: each for key, each in observed.memory.refusals.items() if key in keys})
    phases = tuple(_permitted(observed, phase) for phase in (first, second))
    return _in_time(observed, capacity.round.grants, report(observed, Decided(wanted, capacity, way, size), phases))


def _waiting(observed: Observed | ObservedInvalid) -> Plan:
    """Nothing is written before the server has let the pool in, but what it waits for, once that has lasted."""
    observed = observed.remember(
        waiting_since=observed.now if observed.memory.waiting_since is None else observed.memory.waiting_since
    )
    found = membership.awaiting(observed)
    if found is None:
        return Plan((), (), membership.LOOK_AGAIN, observed.memory)
    return replace(report(found, Decided(None, None), ()), at_rest=False, requeue_after=membership.LOOK_AGAIN)


def _in_time(observed: Observed, grants: Grants, made: Plan) -> Plan:
    """With another look at the latest when the pause or a tombstone ends, or soon while pods do not yet obey."""
    pausing = look_again(observed.pause, (observed.states.get(pod.uid) for pod in observed.living))
    due = relief(grants, observed.intervals.sessions)
    tombstones = None if due is None else float(max(1, due - observed.unix))
    asked = (pausing, membership.look_again(observed), tombstones)
    soon = min((each for each in asked if each is not None), default=None)
    if soon is None:
        return made
    return replace(made, at_rest=False, requeue_after=min(soon, made.requeue_after or soon))


def _permitted(observed: Observed, steps: list[Step]) -> tuple[Step, ...]:
    """Without the writes that were refused a moment ago."""
    refused = {key for key, each in observed.memory.refusals.items() if observed.now - each.at < RETRY_REFUSED}
    return tuple(step for step in steps if step.key not in refused)


def _ledger(observed: Observed, pool: ConnectionPool, capacity: Capacity) -> list[Step]:
    grants = capacity.round.grants
    body = dress(pool, grants_config_map(pool.metadata.name, grants))
    if observed.ledger is None or not observed.ledger.resource_version:
        # Made with the first pods, which wait for it: one write instead of two.
        # A PostgresServer has to see what its pool is charged with from the beginning.
        return [Step(Action.CREATE, body)] if grants.pods or grants.server else []
    if grants is observed.ledger.grants and not observed.ledger.spoiled:
        return []
    metadata = {**body["metadata"], "resourceVersion": str(observed.ledger.resource_version)}
    return [Step(Action.REPLACE, {**body, "metadata": metadata})]


def _children(observed: Observed, wanted: Desired) -> list[Step]:
    steps = []
    for body in (wanted.config_map, wanted.service, wanted.pod_disruption_budget):
        child = observed.child(body)
        if child is None:
            steps.append(Step(Action.CREATE, body))
        elif _differs(child, body):
            # The configuration's own key is always there, so nothing of it can stay behind from the POST.
            posted = child.posted and (body is not wanted.config_map or naming.CA_KEY in child.unpack().get("data", {}))
            steps.append(Step(Action.APPLY, _exactly(body, child), posted=posted))
    return steps


def _deployment(observed: Observed, wanted: Desired, capacity: Capacity, *, tried: bool) -> list[Step]:
    """Create, roll, scale or repair. Another template from a newer operator with the same inputs rolls only if asked.

    A roll that waits for room, or for a configuration to be tried, does not hold up scaling: pods that go are what
    makes the room.
    """
    body = _with_replicas(wanted.deployment, capacity.replicas)
    child = observed.child(body)
    if child is None or child.rollout is None:
        return [Step(Action.CREATE, body)]
    ours: str = body["metadata"]["annotations"][naming.ANNOTATION_TEMPLATE]
    theirs = child.rollout.template
    if rolls(observed, wanted) and capacity.may_roll and tried:
        return [Step(Action.APPLY, _exactly(body, child), posted=child.posted)]
    if ours == theirs:
        return [Step(Action.APPLY, _exactly(body, child), posted=child.posted)] if _differs(child, body) else []
    scaling = {"replicas": body["spec"]["replicas"], "strategy": body["spec"]["strategy"]}
    if not drift({"spec": scaling}, child.unpack()):
        return []
    metadata = {key: body["metadata"][key] for key in ("namespace", "name")} | {"uid": child.uid}
    return [Step(Action.PATCH, {**body, "metadata": metadata, "spec": scaling})]


def _connection_secrets(observed: Observed, pool: ConnectionPool) -> list[Step]:
    """Write what is wanted and readable; delete what we made and nobody wants. Unread Secrets are left alone."""
    if observed.secrets is None or observed.credentials is None:
        return []
    steps = []
    entries = connection_secrets(pool)
    for entry in entries:
        login = observed.credentials.by_user.get(entry.user)
        if login is None or isinstance(login, Missing):
            continue
        ca = observed.credentials.authorities.get(entry.endpoint, "")
        body = _owned(pool, connection_secret(pool, entry, login, ca))
        live = observed.secrets.get(entry.name)
        if live is None:
            steps.append(Step(Action.CREATE, body))
        elif live.owner != pool.metadata.uid:
            steps.append(Step(Action.CREATE, body))  # refused by the API server: somebody else's object
        elif live.body.get("data") != body["data"]:
            metadata = {**body["metadata"], "resourceVersion": live.resource_version}
            steps.append(Step(Action.REPLACE, {**body, "metadata": metadata}))
    unwanted = set(observed.made) - {entry.name for entry in entries}
    for name in sorted(unwanted):
        live = observed.secrets.get(name)
        if live is not None and live.owner == pool.metadata.uid:
            metadata = {"namespace": observed.view.namespace, "name": name, "uid": live.uid}
            metadata["resourceVersion"] = live.resource_version
            steps.append(Step(Action.DELETE, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}))
    return steps


def _owned(pool: ConnectionPool, body: Body) -> Body:
    """Dressed, but without a hash of the content: it would let a password be guessed."""
    dressed = dress(pool, body)
    metadata = {key: value for key, value in dressed["metadata"].items() if key != "annotations"}
    return {**dressed, "metadata": metadata}


def _differs(child: ChildView, body: Body) -> bool:
    wanted = {key: value for key, value in body.items() if key in {"data", "spec", "type"}}
    metadata = {key: body["metadata"].get(key, {}) for key in ("labels", "annotations")}
    return bool(drift({**wanted, "metadata": metadata}, child.unpack()))


def _exactly(body: Body, child: ChildView) -> dict[str, Any]:
    """The body for an apply that can only meet the very object we looked at."""
    return {**body, "metadata": {**body["metadata"], "uid": child.uid}}


def _with_replicas(body: Body, replicas: int) -> Body:
    """The Deployment with the replicas that there is room for now; the hash covers what is sent."""
    metadata: Mapping[str, Any] = body["metadata"]
    return {**body, "metadata": dict(metadata), "spec": {**body["spec"], "replicas": replicas}}
