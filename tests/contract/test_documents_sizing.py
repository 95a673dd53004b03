"""The pages about sizes say what the code does, and show an autoscaler that would work."""

import re

from tests.contract.test_documents import MANIFESTS, POOL, page

from pgbouncer_operator import naming
from pgbouncer_operator.api import postgres_server
from pgbouncer_operator.api.tuning import SizingMode
from pgbouncer_operator.reconcile.server import limits
from pgbouncer_operator.reconcile.specification import read
from pgbouncer_operator.reconcile.status.advice import PoolAdvice
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.resources.desired import desired
from pgbouncer_operator.sizing import demand

FOLLOWING = page("how-to/follow-demand.md")


def test_every_server_shown_is_valid_and_every_advice_about_one_is_named() -> None:
    shown = [body for body in MANIFESTS if body["kind"] == naming.SERVER_KIND]
    budgets = [postgres_server.parse(body).spec.connections.budget for body in shown]
    assert budgets == [333, None]
    told = set(re.findall(r"`(\w+)`", page("how-to/share-a-budget.md")))
    assert {each.value for each in limits.ServerAdvice} <= told


def test_every_advice_and_every_mode_is_named() -> None:
    assert {each.value for each in PoolAdvice} <= set(re.findall(r"`(\w+)`", FOLLOWING))
    modes = FOLLOWING.partition("\n## ")[0]
    assert {each.value for each in SizingMode} == set(re.findall(r"^\| `(\w+)`", modes, re.MULTILINE))


def test_the_paces_are_those_of_the_code() -> None:
    assert (demand.STEP_APART, demand.SHRINK_BY, demand.SHRINK_EVERY, demand.CALM) == (30.0, 0.2, 60.0, 300.0)
    assert "at most to twice its size (or by 8, if that is more) each half minute" in FOLLOWING
    assert "at most a fifth a minute, after five minutes" in " ".join(FOLLOWING.split())


def test_the_workloads_of_the_example_are_those_of_the_application_shown() -> None:
    pools = (body["spec"] for body in MANIFESTS if body["kind"] == naming.KIND)
    (following,) = (spec for spec in pools if "workloads" in spec.get("clients", {}))
    names = {body["metadata"]["name"] for body in MANIFESTS if body["kind"] == "Deployment"}
    assert [{"kind": "Deployment", "name": name} for name in names] == following["clients"]["workloads"][:1]


def test_the_autoscaler_scales_the_first_pool_by_a_container_that_its_pods_have() -> None:
    (scaler,) = (body["spec"] for body in MANIFESTS if body["kind"] == "HorizontalPodAutoscaler")
    assert scaler["scaleTargetRef"] == {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "name": POOL["metadata"]["name"],
    }
    pool = read({**POOL, "metadata": {**POOL["metadata"], "namespace": "shop", "uid": "u"}})
    pods = desired(pool, Platform("pool:1", "IfNotPresent", 5)).deployment["spec"]["template"]["spec"]
    (metric,) = scaler["metrics"]
    assert metric["containerResource"]["container"] in {each["name"] for each in pods["containers"]}
    assert scaler["minReplicas"] == pool.spec.replicas
    assert f"{scaler['maxReplicas']} wanted" in page("how-to/scale-pods.md")
