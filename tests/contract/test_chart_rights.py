"""What the chart lets the operator, and people, do: the least that the code needs."""

import pytest
from tests.contract.chart import NAMESPACE, RELEASE, granted, rendered

from pgbouncer_operator import naming
from pgbouncer_operator.reconcile.cache.cluster import WATCHED
from pgbouncer_operator.reconcile.cache.workload_store import FOLLOWED

POOLS = f"{naming.GROUP}/{naming.PLURAL}"
SERVERS = f"{naming.GROUP}/{naming.SERVER_PLURAL}"
OPERATOR = {
    POOLS: {"list", "watch"},
    f"{POOLS}/status": {"patch"},
    SERVERS: {"list", "watch"},
    f"{SERVERS}/status": {"patch"},
    "namespaces": {"get"},
    "configmaps": {"list", "watch", "create", "get", "patch", "update"},
    "services": {"list", "watch", "create", "get", "patch"},
    "policy/poddisruptionbudgets": {"list", "watch", "create", "get", "patch"},
    "apps/deployments": {"list", "watch", "create", "get", "patch"},
    "apps/statefulsets": {"list", "watch"},
    "apps/replicasets": {"list", "watch"},
    "autoscaling/horizontalpodautoscalers": {"list", "watch"},
    "secrets": {"get", "create", "update", "delete"},
    "pods": {"get", "list", "watch"},
    "pods/status": {"patch"},
    "discovery.k8s.io/endpointslices": {"list", "watch"},
    "events": {"create", "patch"},
}
LEADER = {"coordination.k8s.io/leases": {"create", "get", "update"}}
WITHOUT_SECRETS = {resource: verbs for resource, verbs in OPERATOR.items() if resource != "secrets"}


def test_the_operator_may_do_exactly_this() -> None:
    answer = rendered()

    assert granted(answer) == OPERATOR
    assert granted(answer, "Role", f"{RELEASE}-leader") == LEADER
    assert {each["metadata"]["name"] for each in answer.kind("Role")} == {f"{RELEASE}-leader"}


def test_the_operator_may_list_and_watch_what_it_watches_and_nothing_else() -> None:
    kinds = (*WATCHED, *FOLLOWED)
    watched = {f"{each.api_version.rpartition('/')[0]}/{each.plural}".removeprefix("/") for each in kinds}

    assert {resource for resource, verbs in granted(rendered()).items() if {"list", "watch"} <= verbs} == watched
    assert {resource for resource, verbs in granted(rendered()).items() if {"list", "watch"} & verbs} == watched


def test_the_lease_is_the_operators_and_in_its_own_namespace() -> None:
    role = rendered().one("Role", f"{RELEASE}-leader")

    assert role["metadata"]["namespace"] == NAMESPACE
    by_name = [rule for rule in role["rules"] if "get" in rule["verbs"]]
    assert [rule["resourceNames"] for rule in by_name] == [[naming.LEASE_NAME]]


def test_without_connection_secrets_there_is_no_right_on_secrets() -> None:
    assert granted(rendered("connectionSecrets.enabled=false")) == WITHOUT_SECRETS


def test_without_client_workloads_there_is_no_right_on_kinds_that_are_not_ours() -> None:
    foreign = {"apps/statefulsets", "apps/replicasets", "autoscaling/horizontalpodautoscalers"}

    assert granted(rendered("clientWorkloads.enabled=false")) == {
        resource: verbs for resource, verbs in OPERATOR.items() if resource not in foreign
    }


def test_with_namespaces_given_there_is_no_right_outside_them() -> None:
    answer = rendered("watchNamespaces={shop,bank}", "rbac.aggregateClusterRoles=false")

    assert not answer.kind("ClusterRole")
    assert not answer.kind("ClusterRoleBinding")
    roles = {each["metadata"]["namespace"]: each for each in answer.kind("Role") if each["metadata"]["name"] == RELEASE}
    assert set(roles) == {"shop", "bank"}
    for role in roles.values():
        assert role["rules"] == rendered().one("ClusterRole")["rules"]


def test_every_role_of_the_operator_is_bound_to_its_account_and_to_nobody_else() -> None:
    for values in ((), ("watchNamespaces={shop,bank}",)):
        answer = rendered(*values)
        account = {
            "kind": "ServiceAccount",
            "name": answer.one("ServiceAccount")["metadata"]["name"],
            "namespace": NAMESPACE,
        }
        bindings = [*answer.kind("RoleBinding"), *answer.kind("ClusterRoleBinding")]
        assert all(each["subjects"] == [account] for each in bindings)
        bound = {
            (each["roleRef"]["kind"], each["metadata"].get("namespace"), each["roleRef"]["name"]) for each in bindings
        }
        made = {
            (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
            for each in (*answer.kind("Role"), *answer.kind("ClusterRole"))
            if each["metadata"]["name"] in {RELEASE, f"{RELEASE}-leader"}
        }
        assert bound == made


def test_the_right_on_finalizers_is_given_on_demand_only() -> None:
    assert granted(rendered("rbac.finalizers=true")) == {**OPERATOR, f"{POOLS}/finalizers": {"update"}}


def test_without_leader_election_there_is_no_right_on_leases() -> None:
    assert not rendered("replicaCount=1", "leaderElection.enabled=false").kind("Role")


def test_the_account_token_is_mounted_by_the_operators_pods_only() -> None:
    answer = rendered()

    assert answer.one("ServiceAccount")["automountServiceAccountToken"] is False
    assert answer.one("Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is True


@pytest.mark.parametrize("values", [(), ("rbac.finalizers=true",), ("watchNamespaces={shop}",)])
def test_no_role_has_a_wildcard(values: tuple[str, ...]) -> None:
    answer = rendered(*values)

    for role in (*answer.kind("ClusterRole"), *answer.kind("Role")):
        for rule in role["rules"]:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])


def test_who_may_view_or_edit_a_namespace_may_view_or_edit_its_pools() -> None:
    answer = rendered()
    aggregated = "rbac.authorization.k8s.io/aggregate-to-"

    def roles(name: str) -> set[str]:
        labels = answer.one("ClusterRole", name)["metadata"]["labels"]
        return {key.removeprefix(aggregated) for key in labels if key.startswith(aggregated)}

    assert roles(f"{RELEASE}-view") == {"view", "edit", "admin"}
    assert granted(answer, name=f"{RELEASE}-view") == {
        POOLS: {"get", "list", "watch"},
        f"{POOLS}/status": {"get"},
        f"{POOLS}/scale": {"get"},
        SERVERS: {"get", "list", "watch"},
        f"{SERVERS}/status": {"get"},
    }
    assert roles(f"{RELEASE}-edit") == {"edit", "admin"}
    assert granted(answer, name=f"{RELEASE}-edit") == {
        POOLS: {"create", "delete", "deletecollection", "patch", "update"},
        f"{POOLS}/scale": {"patch", "update"},
    }
    assert roles(f"{RELEASE}-admin") == {"admin"}
    assert granted(answer, name=f"{RELEASE}-admin") == {
        SERVERS: {"create", "delete", "deletecollection", "patch", "update"}
    }


def test_service_binding_controllers_may_read_pools() -> None:
    answer = rendered()
    role = answer.one("ClusterRole", f"{RELEASE}-servicebinding")

    assert role["metadata"]["labels"]["servicebinding.io/controller"] == "true"
    assert granted(answer, name=f"{RELEASE}-servicebinding") == {POOLS: {"get", "list", "watch"}}


def test_roles_for_people_can_be_left_out() -> None:
    assert [each["metadata"]["name"] for each in rendered("rbac.aggregateClusterRoles=false").kind("ClusterRole")] == [
        RELEASE
    ]


def test_nothing_is_granted_when_somebody_else_grants() -> None:
    answer = rendered("rbac.create=false", "serviceAccount.create=false", "serviceAccount.name=mine")

    assert not [each for each in answer.objects if each["apiVersion"].startswith("rbac.")]
    assert not answer.kind("ServiceAccount")
    assert answer.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"
