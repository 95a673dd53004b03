"""Looks at a pool, made by hand: a healthy pool of two pods, and whatever a test changes of it."""

import copy
import json
from dataclasses import replace
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Condition, ConditionType
from pgbouncer_operator.api.connection_pool import InvalidSpec
from pgbouncer_operator.api.status import previous
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.cache import projections, views
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.reconcile.memory import Memory
from pgbouncer_operator.reconcile.observed import Ledger, Observation, Observed, ObservedInvalid, with_spec
from pgbouncer_operator.reconcile.pool.plan import plan
from pgbouncer_operator.reconcile.specification import parsed, read
from pgbouncer_operator.reconcile.steps import Plan, Step
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.resources.desired import Desired, desired, dress
from pgbouncer_operator.resources.grants import grants_config_map
from pgbouncer_operator.resources.template_version import VERSION

PLATFORM = Platform("pool:1", "IfNotPresent", 5)
SPEC: dict[str, Any] = {
    "backend": {"host": "postgres"},
    "databases": [{"name": "shop"}],
    "users": [{"name": "shop", "secretRef": {"name": "shop-db"}}],
    "serverConnections": {"max": 20},
}
SEQ = 5


def pool(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "shop", "namespace": "web", "uid": "pool-uid", "resourceVersion": "1", "generation": 3}
    given = {key: value for key, value in (SPEC | spec).items() if value is not None}
    return {"apiVersion": naming.API_VERSION, "kind": naming.KIND, "metadata": metadata, "spec": given}


def wanted(**spec: Any) -> Desired:
    return desired(read(pool(**spec)), PLATFORM)


def live(body: dict[str, Any], uid: str = "child-uid", posted: bool = False) -> views.ChildView:
    """The object as the API server gives it back."""
    body = copy.deepcopy(body)
    manager = {"manager": naming.FIELD_MANAGER, "operation": "Update" if posted else "Apply"}
    body["metadata"] |= {"uid": uid, "resourceVersion": "9", "generation": 1, "managedFields": [manager]}
    if body["kind"] == "Deployment":
        replicas = body["spec"]["replicas"]
        body["status"] = {"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas}
    return projections.child(body)


def pod(uid: str, digest: str, **changes: Any) -> PodView:
    made = PodView(
        "web", f"shop-{uid}", uid, 4, "shop", "198.18.0.5", False, True, False, digest, f"{SEQ}--0", "", True, "",
        template_version=VERSION,
    )  # fmt: skip
    return replace(made, **changes)


def state(uid: str, digest: str, **changes: Any) -> AgentState:
    document = {
        "protocol": 1, "uid": uid, "version": "0.1.0", "pgbouncer": "1.26.1", "phase": "running", "hash": digest,
        "seq": SEQ, "cap": 10, "open": 4, "busy": 3, "waiting": 0, "clients": 100, "problems": [],
        "users": {"shop": {"ok": True, "message": "", "generation": "..1"}},
        "backend": {"ok": True, "reason": "", "message": ""}, "reload": None, "lingering": [],
    }  # fmt: skip
    found = AgentState.from_json(json.dumps(document | changes), uid)
    assert found is not None
    return found


def healthy(**spec: Any) -> Observed:
    """Two pods that run the present spec and say so; the status is not written yet."""
    body, made = pool(**spec), wanted(**spec)
    digest = made.intent.digest
    shares, addresses = {uid: Grant(10, SEQ, 10) for uid in ("a", "b")}, dict.fromkeys(("a", "b"), "198.18.0.5")
    grants = Grants(SEQ, made.fit.static, shares, addresses, SEQ)
    children = [made.config_map, made.service, made.pod_disruption_budget, made.deployment]
    ledger = dress(read(body), grants_config_map("shop", grants))
    found = [live(each) for each in (*children, ledger)]
    common = Observation(
        view=projections.pool(body),
        status=previous({}),
        children={(each.kind, each.name): each for each in found},
        pods=(pod("a", digest), pod("b", digest)),
        states={uid: state(uid, digest) for uid in ("a", "b")},
        ledger=Ledger(grants, 9),
        credentials=None,
        secrets=None,
        memory=Memory(),
        now=1000.0,
        today="2026-01-01T00:00:00Z",
    )
    return with_spec(common, read(body))


def respecified(observed: Observed, **spec: Any) -> Observed:
    """The same cluster, and a user who has just changed the spec."""
    body = pool(**spec)
    return replace(observed, view=projections.pool(body), spec=read(body))


def invalid(observed: Observed, **spec: Any) -> ObservedInvalid:
    """The same cluster, and a user who has just written a spec that cannot be used."""
    view = projections.pool(pool(**spec))
    fault = parsed(view)
    assert isinstance(fault, InvalidSpec)
    return with_spec(replace(observed, view=view), fault)


def saying(observed: Observed, uid: str, **changes: Any) -> Observed:
    """The pod's agent says something else."""
    digest = changes.pop("digest", wanted().intent.digest)
    return replace(observed, states={**observed.states, uid: state(uid, digest, **changes)})


def decide(observed: Observed | ObservedInvalid, platform: Platform = PLATFORM) -> Plan:
    return plan(observed, platform)


def told(found: Plan) -> dict[str, Any]:
    """The status that the plan writes."""
    status: dict[str, Any] = next(
        step.body["status"] for step in found.steps if step.subresource == "status" and step.key[0] == naming.KIND
    )
    return status


def conditions(observed: Observed | ObservedInvalid) -> dict[str, Condition]:
    return {each["type"]: Condition.model_validate(each) for each in told(decide(observed))["conditions"]}


def condition(observed: Observed | ObservedInvalid, kind: ConditionType) -> tuple[str, str, str]:
    found = conditions(observed)[kind.value]
    return found.status.value, found.reason.value, found.message


def writes(found: Plan) -> list[Step]:
    """All steps but the status."""
    return [step for step in found.steps if step.key[0] != naming.KIND]


def settled(observed: Observed) -> Observed:
    """The same look with the status of its own plan written."""
    found = decide(observed)
    return replace(observed, status=previous({"status": told(found)}), memory=found.memory)
