"""Plans against a cluster in memory: they converge from anywhere, through crashes and interference, and say no secret.

Seeded schedules in fixed numbers. Every look is planned twice: the same look gives the same plan.
"""

import copy
import json
from random import Random
from typing import Any

import pytest
from tests.campaign import length
from tests.property.cluster_model import CANARY, POOL_UID, Cluster
from tests.property.pod_model import BROKEN, REFUSED
from tests.property.watcher import Watcher

from pgbouncer_operator import naming
from pgbouncer_operator.reconcile.memory import Memory
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pool.plan import plan
from pgbouncer_operator.reconcile.steps import Action, Plan
from pgbouncer_operator.resources.deployment import Platform

RUNS = length("PGBOUNCER_TEST_PLANS", short=15, full=40)
PLATFORM = Platform("pool:1", "IfNotPresent", 5)
NEWER = Platform("pool:2", "IfNotPresent", 5)
CHANGES: tuple[dict[str, Any], ...] = (
    {"serverConnections": {"max": 25}},
    {"serverConnections": {"max": 40}},
    {"serverConnections": {"max": 4}},
    {"serverConnections": {"max": 1}},
    {"replicas": 1},
    {"replicas": 2},
    {"replicas": 4},
    {"poolMode": "session"},
    {"databases": [{"name": "shop"}, {"name": "other"}]},
    {"databases": [{"name": "shop"}]},
    {"drain": {"timeoutSeconds": 30}},
    {"pod": {"priorityClassName": "high"}},
    {"service": {"port": 5432}},
    {"backend": {"host": REFUSED}},
    {"backend": {"host": BROKEN}},
    {"backend": {"host": "postgres"}},
    {"users": [{"name": "shop", "secretRef": {"name": "other-db"}}]},
    {"connectionSecrets": [{"name": "only", "database": "shop", "user": "shop"}]},
    {"connectionSecrets": None},
    {"traffic": "Paused"},
    {"traffic": None},
)


def pool() -> dict[str, Any]:
    metadata = {"name": "shop", "namespace": "web", "uid": POOL_UID, "resourceVersion": "1", "generation": 1}
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "metadata": metadata,
        "spec": {
            "backend": {"host": "postgres"},
            "databases": [{"name": "shop"}],
            "users": [{"name": "shop", "secretRef": {"name": "shop-db"}}],
            "serverConnections": {"max": 20},
        },
    }


def decided(observed: Observed, platform: Platform = PLATFORM) -> Plan:
    found = plan(observed, platform)
    assert plan(observed, platform) == found, "the same look gave another plan"
    return found


def grants_of(steps: Plan) -> dict[str, int]:
    name = naming.grants_config_map("shop")
    found = [step for step in steps.steps if step.key == ("ConfigMap", name)]
    document = json.loads(found[0].body["data"][naming.GRANTS_KEY]) if found else {"pods": {}}
    return {uid: grant["cap"] for uid, grant in document["pods"].items()}


def look_without_answers(cluster: Cluster) -> None:
    """No pod answers: nobody may grow, nothing but an unwanted connection Secret may go."""
    observed = cluster.look(silent=True)
    found = decided(observed)
    known = observed.ledger.grants.pods if observed.ledger else {}
    charge = {uid: max(grant.cap, grant.high) for uid, grant in known.items()}
    free = max(0, observed.spec.spec.server_connections.max - sum(charge.get(pod.uid, 0) for pod in observed.pods))
    grown = sum(max(0, cap - charge.get(uid, 0)) for uid, cap in grants_of(found).items())
    assert grown <= free, "somebody grew by what a silent pod may hold"
    assert all(step.key[0] == "Secret" for step in found.steps if step.action is Action.DELETE)
    cluster.perform(found)


def change_spec(cluster: Cluster, random: Random) -> None:
    spec = {**cluster.pool["spec"], **copy.deepcopy(random.choice(CHANGES))}
    cluster.pool["spec"] = {key: value for key, value in spec.items() if value is not None}
    cluster.pool["metadata"]["generation"] += 1
    if random.random() < 0.5:
        cluster.leave()


def lose(cluster: Cluster, random: Random) -> None:
    """Somebody deletes an object of ours. With the ledger goes what is known of pods whose end nobody saw."""
    key = random.choice(sorted(cluster.objects))
    if key[0] != "Deployment" and cluster.objects[key]["metadata"].get("ownerReferences"):
        del cluster.objects[key]
        if key[1] == naming.grants_config_map("shop"):
            cluster.lost.clear()


def disturb(cluster: Cluster, random: Random) -> None:
    """One thing happens."""
    moves = ["look"] * 5 + ["follow"] * 5 + ["control"] * 4 + ["crash", "spec", "lose", "silent", "evict", "force"]
    happen(random.choice(moves), cluster, random)


def happen(move: str, cluster: Cluster, random: Random) -> None:
    """That happens, and time passes."""
    match move:
        case "look":
            cluster.perform(decided(cluster.look(secrets=random.random() < 0.5)))
        case "crash":
            found = decided(cluster.look())
            cluster.perform(found, random.randint(0, len(found.steps)))
        case "follow":
            cluster.follow(random.randrange(8))
        case "control":
            cluster.control()
        case "spec":
            change_spec(cluster, random)
        case "lose" if cluster.objects:
            lose(cluster, random)
        case "silent":
            look_without_answers(cluster)
        case "evict" if cluster.pods:
            random.choice(cluster.pods).body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        case "force" if cluster.pods:
            cluster.vanish(random.randrange(8))
    cluster.now += random.choice([0.1, 0.5, 5.0, 40.0])


def settle(cluster: Cluster, platform: Platform = PLATFORM) -> int:
    """Everybody does their part until nothing is written any more; how many rounds that took."""
    quiet = 0
    for rounds in range(80):
        found = decided(cluster.look(), platform)
        cluster.perform(found)
        moved = cluster.control()
        cluster.leave()
        for place in range(len(cluster.pods)):
            cluster.follow(place)
        cluster.now += 2.0
        writes = [step for step in found.steps if step.key[0] != naming.KIND]
        if (trial := cluster.memory.trial) and trial.again:
            cluster.now = max(cluster.now, trial.again)  # it is tried again after a pause
        due = cluster.relief()
        if due is not None and quiet:
            cluster.now = max(cluster.now, due)
        quiet = 0 if writes or moved or trial or (due and quiet) else quiet + 1
        if quiet == 3:
            return rounds
    raise AssertionError(f"it does not come to rest: {[str(step) for step in found.steps]}")


def stalled_until_it_fits(cluster: Cluster) -> int:
    """Not one pod fits: the pool says so and leaves all pods alone; then its user corrects it. The new budget."""
    before = {pod.body["metadata"]["uid"] for pod in cluster.pods if not pod.terminating}
    settle(cluster)
    assert condition(cluster, "Stalled")["reason"] == "BudgetTooSmall"
    assert before <= {pod.body["metadata"]["uid"] for pod in cluster.pods}
    cluster.pool["spec"]["serverConnections"] = {"max": 10}
    return 10


def condition(cluster: Cluster, kind: str) -> dict[str, Any]:
    found = {each["type"]: each for each in cluster.pool["status"]["conditions"]}
    return dict(found.get(kind, {"status": "absent", "reason": ""}))


@pytest.mark.parametrize("part", range(3))
def test_whatever_happened_the_pool_converges_keeps_its_budget_and_then_rests(part: int) -> None:
    watcher = Watcher()
    for seed in range(part * RUNS, (part + 1) * RUNS):
        random, cluster = Random(seed), Cluster(pool())
        budgets = [20]
        watcher.worse.clear()
        for _ in range(random.randint(5, 60)):
            disturb(cluster, random)
            watcher.watch(cluster, seed)
            budgets.append(cluster.pool["spec"]["serverConnections"]["max"])
            assert cluster.held() <= max(budgets), f"seed {seed}: {cluster.held()} held of {max(budgets)}"
        if cluster.pool["spec"]["backend"]["host"] != "postgres":
            cluster.pool["spec"]["backend"] = {"host": "postgres"}
            cluster.pool["metadata"]["generation"] += 1
        if len(cluster.pool["spec"]["databases"]) > budgets[-1]:
            budgets.append(stalled_until_it_fits(cluster))
        settle(cluster)
        cluster.now += 100.0
        cluster.perform(decided(cluster.look()))
        assert condition(cluster, "Ready")["status"] == "True", f"seed {seed}: {cluster.pool['status']}"
        assert cluster.held() <= budgets[-1], f"seed {seed}: {cluster.held()} held of {budgets[-1]}"
        cluster.now += 100.0
        assert decided(cluster.look()).steps == (), f"seed {seed}: a perfect apply was not the end"
        assert CANARY not in "\n".join(cluster.said), f"seed {seed}: a password was said outside a Secret"
        assert CANARY not in json.dumps([body for key, body in cluster.objects.items() if key[0] != "Secret"])


def test_what_is_worse_for_one_pod_reaches_no_other_whatever_happens_meanwhile() -> None:
    moves = ["look"] * 6 + ["follow"] * 6 + ["crash"] * 2 + ["control", "evict", "silent", "spec"]
    watcher = Watcher()
    for seed in range(RUNS):
        random, cluster = Random(seed), Cluster(pool())
        cluster.pool["spec"] |= {"replicas": 3, "serverConnections": {"max": 30}}
        settle(cluster)
        watcher.worse.clear()
        for _ in range(60):
            move = random.choice(moves)
            if move == "spec":
                cluster.pool["spec"]["backend"] = {"host": random.choice([REFUSED, BROKEN, "postgres"])}
                cluster.pool["spec"]["poolMode"] = random.choice(["session", "transaction"])
                cluster.pool["metadata"]["generation"] += 1
            else:
                happen(move, cluster, random)
            watcher.watch(cluster, seed)
        cluster.pool["spec"]["backend"] = {"host": "postgres"}
        cluster.pool["metadata"]["generation"] += 1
        settle(cluster)
        assert {pod.host for pod in cluster.pods} == {"postgres"}, f"seed {seed}"
        assert naming.CANDIDATE_KEY not in cluster.objects["ConfigMap", naming.config_map("shop")]["data"]
    assert watcher.seen > RUNS, "hardly anything went wrong, so nothing was proven"


def test_a_crash_after_any_write_of_the_first_plan_loses_nothing() -> None:
    for done in range(len(decided(Cluster(pool()).look()).steps) + 1):
        cluster = Cluster(pool())
        cluster.perform(decided(cluster.look()), done)
        assert cluster.memory == Memory()
        settle(cluster)
        assert condition(cluster, "Ready")["status"] == "True"


@pytest.mark.parametrize("kind", ["ConfigMap", "Service", "PodDisruptionBudget", "Deployment", "Secret"])
def test_an_object_of_somebody_else_in_the_way_keeps_every_byte_and_the_pool_says_so(kind: str) -> None:
    first = decided(Cluster(pool()).look())
    keys = [step.key for step in first.steps] + [("ConfigMap", naming.grants_config_map("shop"))]
    for key in [each for each in keys if each[0] == kind]:
        foreign = {"kind": kind, "metadata": {"name": key[1], "uid": "theirs", "resourceVersion": "7"}, "spec": {}}
        cluster = Cluster(pool(), {key: copy.deepcopy(foreign)})
        for _ in range(30):
            cluster.perform(decided(cluster.look()))
            cluster.control()
            cluster.follow(0)
            cluster.follow(1)
            cluster.now += 20.0
        assert cluster.objects[key] == foreign
        assert condition(cluster, "Stalled")["reason"] == "NameConflict"
        assert key[1] in condition(cluster, "Stalled")["message"]
        del cluster.objects[key]
        settle(cluster)
        assert condition(cluster, "Stalled")["status"] == "absent"


def test_a_newer_operator_rolls_no_pod() -> None:
    cluster = Cluster(pool())
    settle(cluster)
    before = [pod.body["metadata"]["uid"] for pod in cluster.pods]
    assert all(step.key[0] == naming.KIND for step in decided(cluster.look(), NEWER).steps)
    settle(cluster, NEWER)
    assert [pod.body["metadata"]["uid"] for pod in cluster.pods] == before


def test_a_changed_password_reaches_the_connection_secret_and_nothing_else() -> None:
    cluster = Cluster(pool())
    settle(cluster)
    assert cluster.secret("shop-connection")["password"] == CANARY
    assert "DIRECT_URL" not in cluster.secret("shop-connection")
    assert "DATABASE_URL" not in cluster.secret("shop-direct")
