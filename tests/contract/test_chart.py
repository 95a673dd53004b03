"""The chart as Helm renders it: what is installed, with which values, and what is refused."""

import copy
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from tests.contract.chart import (
    CHART,
    MAJORS,
    RELEASE,
    Object,
    environment,
    helm,
    pod,
    rendered,
    unrestricted,
)  # fmt: skip

from pgbouncer_operator import naming
from pgbouncer_operator.api import crd
from pgbouncer_operator.settings import Settings

ROOT = Path(__file__).parents[2]
EVERYTHING = (
    "podMonitor.enabled=true", "prometheusRule.enabled=true", "grafanaDashboard.enabled=true",
    "networkPolicy.enabled=true", "metrics.service.enabled=true", "commonLabels.team=db", "serviceMonitor.enabled=true",
)  # fmt: skip
SWITCHED_OFF = ("connectionSecrets.enabled=false", "clientWorkloads.enabled=false")
MATRIX = {
    "defaults": (),
    "two namespaces": ("watchNamespaces={shop,bank}",),
    "nothing that can be switched off": SWITCHED_OFF,
    "no definition": ("crds.enabled=false",),
    "own registry": ("registry=registry.example.com:5000/team",),
    "digests": (f"image.digest=sha256:{'a' * 64}", f"poolImage.digest=sha256:{'b' * 64}"),
    "one replica": ("replicaCount=1", "leaderElection.enabled=false"),
    "nothing created": ("serviceAccount.create=false", "rbac.create=false", "serviceAccount.name=mine"),
    "everything": EVERYTHING,
    "scheduling": (
        'tolerations:=[{"key": "db", "operator": "Exists"}]',
        'nodeSelector:={"disk": "fast"}',
        'affinity:={"nodeAffinity": {}}',
        'topologySpreadConstraints:=[{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]',
        "priorityClassName=system-cluster-critical",
        'extraEnv:=[{"name": "A", "value": "b"}]',
        'imagePullSecrets:=[{"name": "pull"}]',
        'extraVolumes:=[{"name": "ca", "configMap": {"name": "ca"}}]',
        'extraVolumeMounts:=[{"name": "ca", "mountPath": "/ca"}]',
        'strategy:={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}',
    ),
}


class Recorded(Mapping[str, str]):
    """A mapping that remembers which keys were asked for."""

    def __init__(self, content: Mapping[str, str]) -> None:
        self.content = content
        self.asked: set[str] = set()

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        return self.content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


@pytest.mark.parametrize("major", MAJORS)
def test_helm_finds_no_fault_with_the_chart(major: str) -> None:
    said = helm("lint", "--strict", str(CHART), "--kube-version", "1.36.0", major=major)

    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
@pytest.mark.parametrize("major", MAJORS)
def test_every_combination_of_values_renders_whole_objects(major: str, values: tuple[str, ...]) -> None:
    answer = rendered(*values, major=major)

    assert not answer.error
    identities = [
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in answer.objects
    ]
    assert len(identities) == len(set(identities)), "two objects of one name"
    for each in answer.objects:
        assert each["apiVersion"]
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == RELEASE
        cluster_wide = each["kind"] in {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
        assert cluster_wide is ("namespace" not in each["metadata"]), f"namespace of {each['kind']}"


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_helm_3_and_helm_4_render_the_same(values: tuple[str, ...]) -> None:
    def by_name(objects: tuple[Object, ...]) -> list[Object]:
        return sorted(objects, key=lambda each: json.dumps(each, sort_keys=True))

    assert by_name(rendered(*values, major="4").objects) == by_name(rendered(*values, major="3").objects)


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_the_operators_pods_fit_the_restricted_profile(values: tuple[str, ...]) -> None:
    spec = pod(rendered(*values))

    assert unrestricted(spec) == []
    assert all(each["securityContext"]["readOnlyRootFilesystem"] for each in spec["containers"])


def own(spec: Object) -> Object:
    context: Object = spec["containers"][0]["securityContext"]
    return context


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("operator: may be root", lambda spec: spec["securityContext"].pop("runAsNonRoot")),
        ("operator: has no seccomp profile", lambda spec: spec["securityContext"].pop("seccompProfile")),
        ("operator: may gain privileges", lambda spec: own(spec).update(allowPrivilegeEscalation=True)),
        ("operator: has capabilities", lambda spec: own(spec).pop("capabilities")),
        ("hostNetwork is true", lambda spec: spec.update(hostNetwork=True)),
        ("volume all: hostPath", lambda spec: spec.update(volumes=[{"name": "all", "hostPath": {"path": "/"}}])),
    ],
)  # fmt: skip
def test_the_judge_of_the_restricted_profile_sees_a_fault(fault: str, change: Callable[[Object], object]) -> None:
    spec = copy.deepcopy(pod(rendered()))
    change(spec)

    assert unrestricted(spec) == [fault]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("imag.tag=1", "additional properties 'imag' not allowed"),
        ("image.tga=1", "additional properties 'tga' not allowed"),
        ("metrics.service.enable=true", "additional properties 'enable' not allowed"),
        ("replicaCount=many", "/replicaCount"),
        ("registry=https://registry.example.com", "/registry"),
        ("image.digest=latest", "/image/digest"),
        ("logLevel=loud", "/logLevel"),
        ("endpointDelaySeconds=301", "/endpointDelaySeconds"),
        ("watchNamespaces={Shop}", "/watchNamespaces/0"),
        ("image.pullSecrets={pull}", "additional properties 'pullSecrets' not allowed"),
        ("poolImage.pullSecrets[0].nam=pull", "/poolImage/pullSecrets/0"),
        ("global.imageRegistry=https://registry.example.com", "/global/imageRegistry"),
        ("global.imagePullSecrets={Not_a_name}", "/global/imagePullSecrets/0"),
        ("global.imageregistry=registry.example.com", "global.imageregistry is no value of this chart"),
        ("extraVolumeMounts[0].name=a", "missing property 'mountPath'"),
        ("strategy.typ=Recreate", "at '/strategy': additional properties"),
        ("podMonitor.relabelings[0].sourceLabel=a", "at '/podMonitor/relabelings/0': additional properties"),
        ("serviceMonitor.scrapeTimeout=soon", "/serviceMonitor/scrapeTimeout"),
        ("replicaCount=1,leaderElection.enabled=false,strategy.type=RollingUpdate", "Set strategy.type to Recreate"),
        ("resources.limit.memory=1Gi", "at '/resources': additional properties 'limit' not allowed"),
        ("podSecurityContext.runAsRoot=false", "at '/podSecurityContext': additional properties"),
        ("securityContext.capability=none", "at '/securityContext': additional properties"),
        ("tolerations[0].kee=db", "at '/tolerations/0': additional properties"),
        ("affinity.nodeAfinity.a=b", "at '/affinity': additional properties"),
        ("topologySpreadConstraints[0].maxSkeww=1", "at '/topologySpreadConstraints/0': additional properties"),
        ("networkPolicy.from[0].podSelektor.a=b", "at '/networkPolicy/from/0': additional properties"),
        ("extraEnv[0].name=A,extraEnv[0].valueFrom.secret=b", "at '/extraEnv/0/valueFrom': additional properties"),
        ("replicaCount=2,leaderElection.enabled=false", "Set replicaCount to 1 or leaderElection.enabled to true"),
    ],
)
def test_a_wrong_value_is_refused_and_named(value: str, words: str) -> None:
    assert words in rendered(value).error


def test_the_chart_can_be_part_of_another_chart_with_global_values(tmp_path: Path) -> None:
    parent = tmp_path / "platform"
    shutil.copytree(CHART, parent / "charts" / CHART.name)
    (parent / "Chart.yaml").write_text("apiVersion: v2\nname: platform\nversion: 1.0.0\n")
    shared = "{region: north, imageRegistry: mirror.example.com, imagePullSecrets: [login]}"
    (parent / "values.yaml").write_text(f"global: {shared}\npgbouncer-operator: {{replicaCount: 3}}\n")

    answer = rendered(chart=parent)

    assert not answer.error
    assert answer.one("Deployment")["spec"]["replicas"] == 3
    assert pod(answer)["containers"][0]["image"].startswith("mirror.example.com/pgbouncer-operator/operator:")
    assert pod(answer)["imagePullSecrets"] == [{"name": "login"}]


def test_the_operator_understands_every_setting_that_the_chart_gives() -> None:
    hosts = (r"serverHosts.db\.example:5432=platform/rds", r"serverHosts.main\.shop\.svc:5432=shop/main")
    given = Recorded(environment(rendered("watchNamespaces={shop,bank}", "workers=3", *hosts, *SWITCHED_OFF)))

    settings = Settings.from_environment(given)

    assert settings.pool_image == given["PGBOUNCER_OPERATOR_POOL_IMAGE"]
    assert settings.namespaces == ("shop", "bank")
    assert (settings.connection_secrets, settings.client_workloads) == (False, False)
    assert settings.workers == 3
    assert settings.server_hosts == (("db.example:5432", "platform/rds"), ("main.shop.svc:5432", "shop/main"))
    assert (settings.namespace, settings.identity) == ("<metadata.namespace>", "<metadata.name>")
    assert given.asked == set(given), "the chart sets what nobody reads, or leaves out what the operator reads"


def test_the_charts_defaults_are_the_operators_own() -> None:
    given = environment(rendered())
    own = Settings(
        pool_image=given["PGBOUNCER_OPERATOR_POOL_IMAGE"], namespace="<metadata.namespace>", identity="<metadata.name>"
    )

    assert Settings.from_environment(given) == own


def test_two_operators_run_with_a_leader_spread_over_nodes_and_not_evicted_together() -> None:
    answer = rendered()
    deployment = answer.one("Deployment")["spec"]

    assert deployment["replicas"] == 2
    assert pod(answer)["topologySpreadConstraints"][0]["labelSelector"] == deployment["selector"]
    assert answer.one("PodDisruptionBudget")["spec"]["selector"] == deployment["selector"]
    assert deployment["selector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()


def test_a_single_operator_without_leader_election_never_runs_beside_its_successor() -> None:
    answer = rendered("replicaCount=1", "leaderElection.enabled=false")

    assert answer.one("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert not answer.kind("PodDisruptionBudget")


def test_probes_and_monitoring_use_the_port_that_the_operator_serves() -> None:
    answer = rendered(*EVERYTHING, "httpPort=9090")
    (container,) = pod(answer)["containers"]

    assert container["ports"] == [{"name": "http", "containerPort": 9090, "protocol": "TCP"}]
    assert environment(answer)["PGBOUNCER_OPERATOR_HTTP_PORT"] == "9090"
    paths = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths["livenessProbe"] == {"path": "/livez", "port": "http"}
    assert paths["readinessProbe"] == {"path": "/readyz", "port": "http"}
    assert answer.one("Service", f"{RELEASE}-metrics")["spec"]["ports"][0]["targetPort"] == "http"
    assert answer.one("NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["port"] == "http"


def test_the_default_port_is_the_operators() -> None:
    assert environment(rendered())["PGBOUNCER_OPERATOR_HTTP_PORT"] == str(naming.OPERATOR_HTTP_PORT)


def test_a_common_or_pod_label_cannot_take_the_pods_from_their_deployment() -> None:
    answer = rendered(*(f"{key}.app\\.kubernetes\\.io/name=other" for key in ("commonLabels", "podLabels")))
    deployment = answer.one("Deployment")["spec"]

    assert deployment["selector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("plural", [naming.PLURAL, naming.SERVER_PLURAL])
def test_the_definition_is_installed_and_kept_and_is_the_one_in_crds(plural: str) -> None:
    published = yaml.safe_load((ROOT / "crds" / f"{plural}.{naming.GROUP}.yaml").read_text())
    definition = rendered().one("CustomResourceDefinition", f"{plural}.{naming.GROUP}")

    assert definition["spec"] == published["spec"]
    assert definition["metadata"]["name"] == published["metadata"]["name"]
    assert definition["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert published["metadata"]["labels"].items() <= definition["metadata"]["labels"].items()


@pytest.mark.parametrize("major", MAJORS)
def test_kubernetes_1_33_gets_the_definition_without_the_rules_that_it_refuses(major: str) -> None:
    """`make test-versions` applies both to real API servers."""
    for version, expected in (("1.33.13", crd.without_costly_rules(crd.render())), ("1.34.0", crd.render())):
        answer = rendered(major=major, kubernetes=version)
        assert answer.one("CustomResourceDefinition", crd.render()["metadata"]["name"])["spec"] == expected["spec"]


def test_kubernetes_1_32_is_refused() -> None:
    assert "which is incompatible with Kubernetes v1.32.9" in rendered(kubernetes="1.32.9").error


def test_the_definition_can_be_left_out_or_go_with_the_chart() -> None:
    assert not rendered("crds.enabled=false").kind("CustomResourceDefinition")
    definitions = rendered("crds.keep=false").kind("CustomResourceDefinition")
    assert len(definitions) == 2
    assert not any("annotations" in each["metadata"] for each in definitions)


def test_volumes_and_strategy_of_the_operator_are_those_that_are_asked_for() -> None:
    answer = rendered(*MATRIX["scheduling"])
    (container,) = pod(answer)["containers"]

    assert pod(answer)["volumes"] == [{"name": "ca", "configMap": {"name": "ca"}}]
    assert container["volumeMounts"] == [{"name": "ca", "mountPath": "/ca"}]
    assert answer.one("Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_another_namespace_than_the_releases_takes_every_object_of_the_operator() -> None:
    answer = rendered(*EVERYTHING, "namespaceOverride=platform")
    bound = [*answer.kind("ClusterRoleBinding"), *answer.kind("RoleBinding")]

    assert {each["metadata"]["namespace"] for each in answer.objects if "namespace" in each["metadata"]} == {"platform"}
    assert {subject["namespace"] for each in bound for subject in each["subjects"]} == {"platform"}
