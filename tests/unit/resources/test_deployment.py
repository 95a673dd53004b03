from typing import Any

import pytest

from pgbouncer_operator import naming
from pgbouncer_operator.agent.drain import PROBE_SECONDS
from pgbouncer_operator.agent.liveness import ANSWER_SECONDS, WINDOW_SECONDS
from pgbouncer_operator.api.connection_pool import ConnectionPool, parse
from pgbouncer_operator.protocol.intent import Intent
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.resources.desired import Desired, desired

PLATFORM = Platform("pool:1", "IfNotPresent", 5)
SPEC: dict[str, Any] = {
    "backend": {"host": "postgres"},
    "databases": [{"name": "shop"}],
    "users": [{"name": "shop", "secretRef": {"name": "shop-db"}}],
    "serverConnections": {"max": 25},
}


def pool(**spec: Any) -> ConnectionPool:
    return parse({"metadata": {"name": "shop", "namespace": "web", "uid": "u"}, "spec": SPEC | spec})


def made(platform: Platform = PLATFORM, **spec: Any) -> Desired:
    return desired(pool(**spec), platform)


def pod(**spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = made(**spec).deployment["spec"]["template"]["spec"]
    return found


def template(platform: Platform = PLATFORM, **spec: Any) -> tuple[str, str]:
    inputs, _, hashed = (
        made(platform, **spec).deployment["metadata"]["annotations"][naming.ANNOTATION_TEMPLATE].partition(".")
    )
    return inputs, hashed


def test_every_container_keeps_the_restricted_profile() -> None:
    spec = pod()
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*spec["initContainers"], *spec["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_ids_are_the_operators_the_users_or_left_to_the_platform() -> None:
    fixed = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    ids = {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}
    assert pod()["securityContext"] == fixed | ids
    assert pod(pod={"securityContext": {}})["securityContext"] == fixed
    given = {"runAsUser": 1000770001, "runAsGroup": 0, "fsGroup": 1000770001}
    assert pod(pod={"securityContext": given})["securityContext"] == fixed | given


def test_the_placement_reaches_the_pods_as_it_is_written() -> None:
    term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "shop"}}, "namespaceSelector": {}}
    given = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    assert pod(pod={"affinity": given})["affinity"] == given
    assert "affinity" not in pod()


def test_a_service_account_brings_no_token_into_the_pods() -> None:
    spec = pod(pod={"serviceAccountName": "shop"})
    assert spec["automountServiceAccountToken"] is False
    assert not [each for each in spec["volumes"] if "projected" in each]


def test_a_service_account_is_written_with_its_alias_or_it_could_not_be_removed() -> None:
    spec = pod(pod={"serviceAccountName": "shop"})
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("shop", "shop")
    assert not {"serviceAccountName", "serviceAccount"} & pod().keys()


def test_the_runtime_class_is_the_clusters_or_the_users() -> None:
    assert pod(pod={"runtimeClassName": "gvisor"})["runtimeClassName"] == "gvisor"
    assert "runtimeClassName" not in pod()


def test_the_agents_resources_are_the_operators_or_the_users() -> None:
    default = {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}}
    assert pod()["initContainers"][0]["resources"] == default
    given = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}
    found = pod(pod={"agentResources": given})
    assert found["initContainers"][0]["resources"] == given
    assert found["containers"][0]["resources"] == {"requests": {"cpu": "100m", "memory": "128Mi"}}


def test_the_drain_gets_its_deadlines_and_kubelet_waits_for_all_of_them() -> None:
    spec = pod(drain={"timeoutSeconds": 30, "transactionSeconds": 7})
    command = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command[-6:] == ["--endpoint-delay", "5", "--timeout", "30", "--transaction", "7"]
    assert spec["terminationGracePeriodSeconds"] == 5 + 30 + 7 + 10


def test_a_pod_that_drains_knows_how_long_kubelet_takes_to_find_it_unready() -> None:
    probe = pod()["containers"][0]["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"] == PROBE_SECONDS


def test_liveness_is_slow_to_fail_and_what_it_ends_may_drain() -> None:
    probe = pod()["containers"][0]["livenessProbe"]
    assert probe["exec"]["command"][-1].endswith("/agent/liveness.py")
    assert probe["periodSeconds"] * probe["failureThreshold"] == 180
    assert probe["timeoutSeconds"] > WINDOW_SECONDS + 2 * ANSWER_SECONDS
    assert "terminationGracePeriodSeconds" not in probe  # the pod's holds


def test_every_user_is_mounted_where_the_intent_says_and_may_be_missing() -> None:
    users = [{"name": name, "secretRef": {"name": f"{name}-db"}} for name in ("zoe", "amy", "a" * 63)]
    found = made(users=users)
    spec = found.deployment["spec"]["template"]["spec"]
    intent = Intent.from_json(found.config_map["data"][naming.INTENT_KEY])
    volumes = {each["name"]: each for each in spec["volumes"]}
    mounts = {each["mountPath"]: each["name"] for each in spec["initContainers"][0]["volumeMounts"]}
    for user in intent.users:
        source = volumes[mounts[f"{naming.USERS_DIR}/{user.mount}"]]["secret"]
        assert source == {"secretName": f"{user.name}-db", "optional": True}
    assert all(len(name) <= 63 for name in volumes)


def test_an_added_user_moves_no_other_users_mount() -> None:
    before = {each.name: each.mount for each in made().intent.users}
    more = [*SPEC["users"], {"name": "aaa", "secretRef": {"name": "aaa-db"}}]
    assert {each.name: each.mount for each in made(users=more).intent.users}.items() >= before.items()


@pytest.mark.parametrize("kind", ["secretKeyRef", "configMapKeyRef"])
def test_only_the_named_key_of_a_ca_is_mounted(kind: str) -> None:
    spec = pod(backend={"host": "postgres", "tls": {"ca": {kind: {"name": "ca", "key": "root.pem"}}}})
    volume = next(each for each in spec["volumes"] if each["name"] == "ca")
    source = volume.get("secret") or volume["configMap"]
    assert source["items"] == [{"key": "root.pem", "path": naming.CA_KEY}]
    assert source["optional"] is True


def test_the_system_ca_needs_no_volume() -> None:
    found = made(backend={"host": "postgres", "tls": {"ca": {"system": True}}})
    assert "ca" not in [each["name"] for each in found.deployment["spec"]["template"]["spec"]["volumes"]]
    assert (found.intent.server_tls.mode, found.intent.server_tls.ca) == ("verify-full", "system")


ROLLS: dict[str, dict[str, Any]] = {
    "another Secret": {"users": [{"name": "shop", "secretRef": {"name": "other"}}]},
    "a CA": {"backend": {"host": "postgres", "tls": {"ca": {"secretKeyRef": {"name": "a", "key": "b"}}}}},
    "the drain": {"drain": {"timeoutSeconds": 1}},
    "the pod's shape": {"pod": {"labels": {"team": "shop"}}},
    "the agent's resources": {"pod": {"agentResources": {"limits": {"cpu": 1}}}},
    "ids left to the platform": {"pod": {"securityContext": {}}},
    "the placement": {"pod": {"affinity": {"podAntiAffinity": {}}}},
    "the ServiceAccount": {"pod": {"serviceAccountName": "shop"}},
    "the runtime class": {"pod": {"runtimeClassName": "gvisor"}},
}
RELOADS: dict[str, dict[str, Any]] = {
    "the backend": {"backend": {"host": "other", "port": 5433}},
    "another database": {"databases": [{"name": "shop"}, {"name": "more"}]},
    "the pool mode": {"poolMode": "session"},
    "the budget": {"serverConnections": {"max": 40}},
    "a key of the Secret": {"users": [{"name": "shop", "secretRef": {"name": "shop-db"}, "passwordKey": "pw"}]},
    "clients": {"clients": {"maxPerPod": 9}},
    "replicas": {"replicas": 3},
    "the Service": {"service": {"port": 5432}},
}


@pytest.mark.parametrize("spec", ROLLS.values(), ids=ROLLS)
def test_these_changes_roll_the_pods(spec: dict[str, Any]) -> None:
    assert template(**spec)[0] != template()[0]


@pytest.mark.parametrize("spec", RELOADS.values(), ids=RELOADS)
def test_these_changes_leave_the_pods_template_alone(spec: dict[str, Any]) -> None:
    assert template(**spec) == template()
    assert made(**spec).deployment["spec"]["template"] == made().deployment["spec"]["template"]


def test_a_newer_image_is_another_template_of_the_same_inputs() -> None:
    inputs, hashed = template(Platform("pool:2", "IfNotPresent", 5))
    assert inputs == template()[0]
    assert hashed != template()[1]


def test_users_labels_never_take_an_object_out_of_the_operators_sight() -> None:
    taken = {naming.LABEL_MANAGED_BY: "me", naming.LABEL_NAME: "mine", "team": "shop"}
    found = made(service={"labels": taken}, pod={"labels": taken})
    for body in (found.service, found.deployment["spec"]["template"]):
        labels = body["metadata"]["labels"]
        assert labels[naming.LABEL_MANAGED_BY] == naming.MANAGED_BY
        assert (labels[naming.LABEL_POOL], labels["team"]) == ("shop", "shop")


def test_every_object_belongs_to_the_pool_and_carries_its_hash() -> None:
    found = made()
    for body in (found.config_map, found.service, found.pod_disruption_budget, found.deployment):
        owner = body["metadata"]["ownerReferences"][0]
        assert (owner["uid"], owner["controller"], owner["kind"]) == ("u", True, "ConnectionPool")
        assert len(body["metadata"]["annotations"][naming.ANNOTATION_APPLIED]) == 16


def test_the_order_in_which_users_and_databases_are_written_changes_nothing() -> None:
    databases, users = (
        [{"name": "a"}, {"name": "b"}],
        [
            {"name": "x", "secretRef": {"name": "x"}},
            {"name": "y", "secretRef": {"name": "y"}},
        ],
    )
    assert made(databases=databases, users=users) == made(databases=databases[::-1], users=users[::-1])


LOOKUP = {"secretRef": {"name": "lookup"}, "database": "shop"}


def test_of_a_certificate_only_the_pair_is_mounted_and_a_missing_one_holds_no_pod() -> None:
    spec = pod(clients={"tls": {"secretName": "cert"}})
    (volume,) = [each for each in spec["volumes"] if each["name"] == "tls"]
    items = [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}]
    assert volume["secret"] == {"secretName": "cert", "optional": True, "items": items}
    assert {"name": "tls", "mountPath": naming.TLS_DIR, "readOnly": True} in spec["initContainers"][0]["volumeMounts"]


def test_the_role_that_looks_up_is_mounted_beside_the_users() -> None:
    spec = pod(authQuery=LOOKUP)
    mounts = {each["mountPath"]: each["name"] for each in spec["initContainers"][0]["volumeMounts"]}
    (volume,) = [each for each in spec["volumes"] if each["name"] == mounts["/etc/pgbouncer/users/_auth-query"]]
    assert volume["secret"] == {"secretName": "lookup", "optional": True}


def test_no_secret_reaches_pgbouncers_own_container() -> None:
    spec = pod(authQuery=LOOKUP, clients={"tls": {"secretName": "cert"}})
    assert spec["containers"][0]["volumeMounts"] == [{"name": "run", "mountPath": naming.RUN_DIR}]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"clients": {"tls": {"secretName": "cert"}}}),
        ({"clients": {"tls": {"secretName": "cert"}}}, {"clients": {"tls": {"secretName": "new"}}}),
        ({}, {"authQuery": LOOKUP}),
        ({"authQuery": LOOKUP}, {"authQuery": {**LOOKUP, "secretRef": {"name": "new"}}}),
    ],
)
def test_another_reference_rolls_the_pods(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert template(**one)[0] != template(**other)[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"clients": {"tls": {"secretName": "cert"}}}, {"clients": {"tls": {"secretName": "cert", "mode": "prefer"}}}),
        ({"authQuery": LOOKUP}, {"authQuery": {**LOOKUP, "function": "a.b", "passwordKey": "pw"}}),
        ({}, {"traffic": "Paused", "pauseTimeoutSeconds": 5, "upgradePolicy": "Automatic"}),
    ],
    ids=["mode", "function", "traffic"],
)
def test_what_is_reloaded_leaves_the_template_as_it_is(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert template(**one) == template(**other)


def test_a_service_reaches_as_far_as_it_is_told() -> None:
    assert made().service["spec"]["type"] == "ClusterIP"
    balancer = {
        "type": "LoadBalancer",
        "loadBalancerClass": "example.com/internal",
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
    }
    spec = made(service=balancer, clients={"tls": {"secretName": "cert"}}).service["spec"]
    assert balancer.items() <= spec.items()


def test_pull_secrets_of_the_platform_stand_beside_those_of_the_pool_and_are_no_reason_to_roll() -> None:
    platform = Platform("pool:1", "IfNotPresent", 5, image_pull_secrets=("login", "mine"))
    own = {"imagePullSecrets": [{"name": "mine"}]}
    both = made(platform, pod=own).deployment["spec"]["template"]["spec"]
    assert both["imagePullSecrets"] == [{"name": "mine"}, {"name": "login"}]
    assert pod(pod=own)["imagePullSecrets"] == [{"name": "mine"}]
    assert "imagePullSecrets" not in pod()
    inputs, hashed = template(platform)
    assert inputs == template()[0]
    assert hashed != template()[1]
