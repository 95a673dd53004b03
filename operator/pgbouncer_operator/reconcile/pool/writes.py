"""The writes that each kind of object of a pool needs now. Pure."""

from collections.abc import Mapping
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.reconcile.budget.capacity import Capacity
from pgbouncer_operator.reconcile.cache.views import ChildView
from pgbouncer_operator.reconcile.memory import Missing
from pgbouncer_operator.reconcile.observed import Observation, Observed
from pgbouncer_operator.reconcile.pool.drift import drift
from pgbouncer_operator.reconcile.pool.managed_fields import written_by_us
from pgbouncer_operator.reconcile.rollout.template import rolls
from pgbouncer_operator.reconcile.steps import Action, Step
from pgbouncer_operator.resources import connection_secret
from pgbouncer_operator.resources.desired import Body, Desired, dress
from pgbouncer_operator.resources.grants import grants_config_map


def ledger(observed: Observed, capacity: Capacity) -> list[Step]:
    """The ConfigMap of the grants, when this round changes it. REPLACE: another writer's round must not be lost."""
    grants = capacity.round.grants
    body = dress(observed.spec, grants_config_map(observed.view.name, grants))
    if observed.ledger is None or not observed.ledger.resource_version:
        # Written with the grants of the first pods, which wait for it: one write instead of two.
        # A PostgresServer has to see what it charges the pool with from the beginning.
        return [Step(Action.CREATE, body)] if grants.pods or grants.server else []
    if grants is observed.ledger.grants and not observed.ledger.spoiled:
        return []
    metadata = {**body["metadata"], "resourceVersion": str(observed.ledger.resource_version)}
    return [Step(Action.REPLACE, {**body, "metadata": metadata})]


def kept_ledger(observed: Observation, grants: Grants) -> list[Step]:
    """The ledger of a pool whose spec cannot be used. Only its content changes, by compare and swap."""
    name = naming.grants_config_map(observed.view.name)
    child = observed.children.get(("ConfigMap", name))
    if child is None or observed.ledger is None or (grants is observed.ledger.grants and not observed.ledger.spoiled):
        return []
    metadata = {"namespace": child.namespace, "name": name, "uid": child.uid}
    metadata["resourceVersion"] = str(observed.ledger.resource_version)
    data = {naming.GRANTS_KEY: grants.to_json()}
    return [Step(Action.PATCH, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})]


def children(observed: Observed, wanted: Desired) -> list[Step]:
    """ConfigMap, Service and PodDisruptionBudget, where they are missing or differ."""
    steps = []
    for body in (wanted.config_map, wanted.service, wanted.pod_disruption_budget):
        child = observed.child(body)
        if child is None:
            steps.append(Step(Action.CREATE, body))
        elif _differs(child, body):
            # An apply removes only what an apply has set. Of the ConfigMap's keys only the CA may have to go.
            posted = child.posted and (body is not wanted.config_map or naming.CA_KEY in child.data)
            steps.append(Step(Action.APPLY, _exactly(body, child), posted=posted))
    return steps


def deployment(observed: Observed, wanted: Desired, capacity: Capacity, *, tried: bool) -> list[Step]:
    """Create, roll, scale or repair the Deployment. tried: no configuration is on trial, so that new pods may come.

    Another template of a newer operator with the same inputs rolls only where upgradePolicy says so. A roll that waits
    does not hold up scaling: pods that go make the room that it waits for.
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
    metadata = {key: body["metadata"][key] for key in ("namespace", "name")} | _identity(child)
    return [Step(Action.PATCH, {**body, "metadata": metadata, "spec": scaling})]


def connection_secrets(observed: Observed) -> list[Step]:
    """Write the wanted connection Secrets whose login is readable, and delete those of ours that nobody wants.

    While the users' Secrets are not read, every connection Secret stays as it is.
    """
    if observed.secrets is None or observed.credentials is None:
        return []
    pool, steps = observed.spec, []
    entries = connection_secret.connection_secrets(pool)
    for entry in entries:
        login = observed.credentials.by_user.get(entry.user)
        if login is None or isinstance(login, Missing):
            continue
        ca = observed.credentials.authorities.get(entry.endpoint, "")
        body = _without_hash(pool, connection_secret.connection_secret(pool, entry, login, ca))
        live = observed.secrets.get(entry.name)
        if live is None or live.owner != pool.metadata.uid:
            # The API server refuses to create what somebody else owns, which the pool then reports as NameConflict.
            steps.append(Step(Action.CREATE, body))
        elif _secret_differs(live.body, body := _with_labels_of_others(live.body, body)):
            metadata = {**body["metadata"], "resourceVersion": live.resource_version}
            steps.append(Step(Action.REPLACE, {**body, "metadata": metadata}))
    return [*steps, *_unwanted_secrets(observed, {entry.name for entry in entries})]


def _secret_differs(live: Mapping[str, Any], body: Body) -> bool:
    """Whether a connection Secret has other keys, labels or annotations than wanted."""
    labels = any((live["metadata"].get(name) or {}) != body["metadata"][name] for name in ("labels", "annotations"))
    return labels or live.get("data") != body["data"]


def _with_labels_of_others(live: Mapping[str, Any], body: Body) -> Body:
    """The Secret with the labels and annotations of others that the live one has: a REPLACE would remove them."""
    metadata = dict(body["metadata"])
    for name in ("labels", "annotations"):
        standing, ours = live["metadata"].get(name) or {}, written_by_us(live, name)
        kept = {key: value for key, value in standing.items() if key not in ours}
        metadata[name] = {**kept, **(metadata.get(name) or {})}
    return {**body, "metadata": metadata}


def _unwanted_secrets(observed: Observed, wanted: set[str]) -> list[Step]:
    """Deletions of the connection Secrets of this pool that its spec no longer wants."""
    steps = []
    for name in sorted(set(observed.connection_secrets) - wanted):
        live = observed.secrets.get(name) if observed.secrets else None
        if live is not None and live.owner == observed.view.uid:
            metadata = {"namespace": observed.view.namespace, "name": name, "uid": live.uid}
            metadata["resourceVersion"] = live.resource_version
            steps.append(Step(Action.DELETE, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}))
    return steps


def _without_hash(pool: ConnectionPool, body: Body) -> Body:
    """The Secret as `dress` makes it, but without a hash of its content: a hash lets somebody try passwords."""
    dressed = dress(pool, body)
    annotations = {k: v for k, v in dressed["metadata"]["annotations"].items() if k != naming.ANNOTATION_APPLIED}
    return {**dressed, "metadata": {**dressed["metadata"], "annotations": annotations}}


def _differs(child: ChildView, body: Body) -> bool:
    """Whether the live object lacks or contradicts something of this body."""
    wanted = {key: value for key, value in body.items() if key in {"data", "spec", "type"}}
    metadata = {key: body["metadata"].get(key, {}) for key in ("labels", "annotations")}
    return bool(drift({**wanted, "metadata": metadata}, child.unpack()))


def _exactly(body: Body, child: ChildView) -> dict[str, Any]:
    """The body for an apply that fails if the object is not as it was observed: a process that was suspended must not
    write what another leader has changed since.
    """
    return {**body, "metadata": {**body["metadata"], **_identity(child)}}


def _identity(child: ChildView) -> dict[str, str]:
    return {"uid": child.uid, "resourceVersion": str(child.resource_version)}


def _with_replicas(body: Body, replicas: int) -> Body:
    """The Deployment with the replicas that there is room for now."""
    metadata: Mapping[str, Any] = body["metadata"]
    return {**body, "metadata": dict(metadata), "spec": {**body["spec"], "replicas": replicas}}
