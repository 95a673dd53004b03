"""From what is seen to what is written. Pure: the same look gives the same plan, and a perfect apply leaves nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import ConnectionPool, InvalidSpec
from pgbouncer_operator.pgbouncer.grants import Grants
from pgbouncer_operator.reconcile import endpoints, membership
from pgbouncer_operator.reconcile.allotment import allot
from pgbouncer_operator.reconcile.canary import course
from pgbouncer_operator.reconcile.capacity import Capacity
from pgbouncer_operator.reconcile.changes import track
from pgbouncer_operator.reconcile.diff import drift
from pgbouncer_operator.reconcile.moves import decide
from pgbouncer_operator.reconcile.observed import Missing, Observed
from pgbouncer_operator.reconcile.pokes import pokes
from pgbouncer_operator.reconcile.projections import ChildView
from pgbouncer_operator.reconcile.report import Outlook, report
from pgbouncer_operator.reconcile.rolls import rolls
from pgbouncer_operator.reconcile.steps import Action, Plan, Step
from pgbouncer_operator.reconcile.traffic import look_again
from pgbouncer_operator.resources.configuration import config_map
from pgbouncer_operator.resources.connection_secret import connection_secret, connection_secrets
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.resources.desired import Body, Desired, desired, dress, redress
from pgbouncer_operator.resources.grants import grants_config_map
from pgbouncer_operator.sizing.ledger import relief

RETRY_REFUSED = 5.0  # seconds until a refused write is tried again


def plan(seen: Observed, platform: Platform) -> Plan:
    """Every write that brings the cluster one step closer, and what the user is told."""
    if seen.view.deleting:
        return Plan((), (), None, seen.memory)  # children go by their ownerReferences
    if membership.waits(seen):
        return _waiting(seen)
    if seen.memory.waiting_since is not None:
        seen = seen.remember(waiting_since=None)
    if isinstance(seen.spec, InvalidSpec):
        return report(seen, Outlook(None, None), ())
    pool = seen.spec
    given = allot(seen)
    wanted = desired(pool, platform, given.budget)
    capacity = decide(seen, wanted, given.budget)
    if wanted.fit.shortage and not wanted.fit.replicas:
        # Not one pod fits: a slip of the pen must not stop a pool, so what runs keeps its configuration and its grants.
        return report(seen, Outlook(wanted, capacity, allotment=given), ())
    if seen.pause:
        body = config_map(pool, wanted.intent, seen.pause.document)
        wanted = replace(wanted, config_map=dress(pool, body))
    seen = track(seen, wanted)
    way, documents = course(seen, wanted), membership.documents(seen)
    seen = seen.remember(trial=way.trial)
    wanted = replace(
        wanted, config_map=redress(pool, wanted.config_map, wanted.config_map["data"] | way.documents | documents)
    )
    first = [
        *_ledger(seen, pool, capacity),
        *_children(seen, wanted),
        *_connection_secrets(seen, pool),
    ]
    poked, memory = pokes(seen, way.tell, capacity.round.grants)
    known = endpoints.token(seen.view.backend, seen.endpoints) or seen.memory.endpoints
    seen = seen.remember(poked=memory, endpoints=known)
    second = [*poked, *_deployment(seen, wanted, capacity, tried=not way.candidate)]
    keys = {step.key for step in (*first, *second)}
    seen = seen.remember(refusals={key: each for key, each in seen.memory.refusals.items() if key in keys})
    phases = tuple(_permitted(seen, phase) for phase in (first, second))
    return _in_time(seen, capacity.round.grants, report(seen, Outlook(wanted, capacity, way, given), phases))


def _waiting(seen: Observed) -> Plan:
    """Nothing is written before the server has let the pool in, but what it waits for, once that has lasted."""
    seen = seen.remember(waiting_since=seen.now if seen.memory.waiting_since is None else seen.memory.waiting_since)
    found = membership.awaiting(seen)
    if found is None:
        return Plan((), (), membership.LOOK_AGAIN, seen.memory)
    return replace(report(found, Outlook(None, None), ()), at_rest=False, requeue_after=membership.LOOK_AGAIN)


def _in_time(seen: Observed, grants: Grants, made: Plan) -> Plan:
    """With another look at the latest when the pause or a tombstone ends, or soon while pods do not yet obey."""
    pausing = look_again(seen.pause, (seen.states.get(pod.uid) for pod in seen.living))
    due = relief(grants)
    tombstones = None if due is None else float(max(1, due - seen.unix))
    asked = (pausing, membership.look_again(seen), tombstones)
    soon = min((each for each in asked if each is not None), default=None)
    if soon is None:
        return made
    return replace(made, at_rest=False, requeue_after=min(soon, made.requeue_after or soon))


def _permitted(seen: Observed, steps: list[Step]) -> tuple[Step, ...]:
    """Without the writes that were refused a moment ago."""
    refused = {key for key, each in seen.memory.refusals.items() if seen.now - each.at < RETRY_REFUSED}
    return tuple(step for step in steps if step.key not in refused)


def _ledger(seen: Observed, pool: ConnectionPool, capacity: Capacity) -> list[Step]:
    grants = capacity.round.grants
    body = dress(pool, grants_config_map(pool.metadata.name, grants))
    if seen.ledger is None or not seen.ledger.resource_version:
        # Made with the first pods, which wait for it: one write instead of two.
        # A PostgresServer has to see what its pool is charged with from the beginning.
        return [Step(Action.CREATE, body)] if grants.pods or grants.server else []
    if grants is seen.ledger.grants and not seen.ledger.spoiled:
        return []
    metadata = {**body["metadata"], "resourceVersion": str(seen.ledger.resource_version)}
    return [Step(Action.REPLACE, {**body, "metadata": metadata})]


def _children(seen: Observed, wanted: Desired) -> list[Step]:
    steps = []
    for body in (wanted.config_map, wanted.service, wanted.pod_disruption_budget):
        child = seen.child(body)
        if child is None:
            steps.append(Step(Action.CREATE, body))
        elif _differs(child, body):
            # The configuration's own key is always there, so nothing of it can stay behind from the POST.
            posted = child.posted and (body is not wanted.config_map or naming.CA_KEY in child.unpack().get("data", {}))
            steps.append(Step(Action.APPLY, _exactly(body, child), posted=posted))
    return steps


def _deployment(seen: Observed, wanted: Desired, capacity: Capacity, *, tried: bool) -> list[Step]:
    """Create, roll, scale or repair. Another template from a newer operator with the same inputs rolls only if asked.

    A roll that waits for room, or for a configuration to be tried, does not hold up scaling: pods that go are what
    makes the room.
    """
    body = _with_replicas(wanted.deployment, capacity.replicas)
    child = seen.child(body)
    if child is None or child.rollout is None:
        return [Step(Action.CREATE, body)]
    ours: str = body["metadata"]["annotations"][naming.ANNOTATION_TEMPLATE]
    theirs = child.rollout.template
    if rolls(seen, wanted) and capacity.may_roll and tried:
        return [Step(Action.APPLY, _exactly(body, child), posted=child.posted)]
    if ours == theirs:
        return [Step(Action.APPLY, _exactly(body, child), posted=child.posted)] if _differs(child, body) else []
    scaling = {"replicas": body["spec"]["replicas"], "strategy": body["spec"]["strategy"]}
    if not drift({"spec": scaling}, child.unpack()):
        return []
    metadata = {key: body["metadata"][key] for key in ("namespace", "name")} | {"uid": child.uid}
    return [Step(Action.PATCH, {**body, "metadata": metadata, "spec": scaling})]


def _connection_secrets(seen: Observed, pool: ConnectionPool) -> list[Step]:
    """Write what is wanted and readable; delete what we made and nobody wants. Unread Secrets are left alone."""
    if seen.secrets is None or seen.credentials is None:
        return []
    steps = []
    entries = connection_secrets(pool)
    for entry in entries:
        login = seen.credentials.by_user.get(entry.user)
        if login is None or isinstance(login, Missing):
            continue
        ca = seen.credentials.authorities.get(entry.endpoint, "")
        body = _owned(pool, connection_secret(pool, entry, login, ca))
        live = seen.secrets.get(entry.name)
        if live is None:
            steps.append(Step(Action.CREATE, body))
        elif live.owner != pool.metadata.uid:
            steps.append(Step(Action.CREATE, body))  # refused by the API server: somebody else's object
        elif live.body.get("data") != body["data"]:
            metadata = {**body["metadata"], "resourceVersion": live.resource_version}
            steps.append(Step(Action.REPLACE, {**body, "metadata": metadata}))
    unwanted = set(seen.made) - {entry.name for entry in entries}
    for name in sorted(unwanted):
        live = seen.secrets.get(name)
        if live is not None and live.owner == pool.metadata.uid:
            metadata = {"namespace": seen.view.namespace, "name": name, "uid": live.uid}
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
