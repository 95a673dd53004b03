"""The samples: every object has the fields of its kind, and what one names the others have.

The API server judges them in tests/controlplane/test_samples.py.
"""

import copy
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests import documents
from tests.contract.chart import NAMESPACE, Answer, rendered, unrestricted
from tests.contract.samples import BUILTIN, FILES, FOLDER, FOREIGN, OURS, Object, every, faults, kind, objects
from tests.contract.test_documents import strangers

from pgbouncer_operator import naming, offline
from pgbouncer_operator.admission import PLACEHOLDER_UID
from pgbouncer_operator.api import crd, crd_server
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.reconcile.specification import read
from pgbouncer_operator.resources.connection_secret import connection_secret, connection_secrets
from pgbouncer_operator.resources.login import Login

ALL = list(every())
SPECS = {
    name: definition.render()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for name, definition in ((naming.KIND, crd), (naming.SERVER_KIND, crd_server))
}
# Connections to PostgreSQL; then POOL_MAX, and seconds of POOL_IDLE_MILLISECONDS and POOL_CONNECT_MILLISECONDS.
ENVIRONMENTS = {
    "development": (5, 10, 60, 10),
    "preview": (3, 3, 20, 10),
    "staging": (20, 5, 30, 3),
    "production": (60, 5, 30, 3),
}


def named(each: tuple[Path, Object]) -> str:
    return f"{each[0].stem}-{each[1]['kind']}-{each[1]['metadata']['name']}"


def of(*kinds: str) -> list[tuple[Path, Object]]:
    return [each for each in ALL if each[1]["kind"] in kinds]


def one(file: str, wanted: str, name: str) -> Object:
    (found,) = (body for body in objects(FOLDER / file) if body["kind"] == wanted and body["metadata"]["name"] == name)
    return found


def model(body: Object) -> ConnectionPool:
    return read({**body, "metadata": {**body["metadata"], "namespace": "shop", "uid": PLACEHOLDER_UID}})


def containers(path: Path) -> list[Object]:
    workloads = [body for body in objects(path) if body["kind"] in {"Deployment", "Job"}]
    return [each for body in workloads for each in body["spec"]["template"]["spec"]["containers"]]


def environment(name: str) -> Object:
    """The data of the ConfigMap of an environment."""
    data: Object = one(f"{name}.yaml", "ConfigMap", "shop-database")["data"]
    return data


# Each by itself.


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_sample_begins_with_what_it_is_and_has_no_namespace_of_ours(path: Path) -> None:
    assert re.match(r"# [A-Z].+\.\n", path.read_text(encoding="utf-8"))
    assert all("namespace" not in body["metadata"] or kind(body) in FOREIGN for body in objects(path))
    identities = [(kind(body), body["metadata"]["name"]) for body in objects(path)]
    assert len(identities) == len(set(identities))


def test_the_index_has_a_row_for_each_sample_and_no_other() -> None:
    linked = re.findall(r"^\| \[(.+?\.yaml)\]\(\1\) \|", documents.text(FOLDER / "README.md"), re.MULTILINE)
    assert sorted(linked) == [path.name for path in FILES]


def test_every_object_is_of_a_kind_that_is_checked() -> None:
    assert {kind(body) for _, body in ALL} == {*BUILTIN, *FOREIGN, *((naming.API_VERSION, each) for each in OURS)}


@pytest.mark.parametrize("path", sorted({path for path, _ in of(naming.KIND)}), ids=lambda path: path.stem)
def test_the_command_check_accepts_the_pools(path: Path) -> None:
    assert offline.check(path.read_text(encoding="utf-8")).problems == ()


@pytest.mark.parametrize("each", of(*OURS), ids=named)
def test_our_objects_have_the_fields_of_the_definition(each: tuple[Path, Object]) -> None:
    schema = SPECS[each[1]["kind"]]
    jsonschema.Draft7Validator(schema).validate(each[1]["spec"])
    assert not list(strangers(each[1]["spec"], schema))


@pytest.mark.parametrize("each", [each for each in ALL if kind(each[1]) in BUILTIN], ids=named)
def test_objects_of_kubernetes_have_the_fields_of_their_kind(each: tuple[Path, Object]) -> None:
    assert faults(each[1]) == []


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("spec.replica: Extra", {"replica": 3}),
        ("spec.replicas: Input should be a valid integer", {"replicas": "3"}),
        ("spec.replicas: Input should be a valid integer", {"replicas": True}),
        ("spec.template.spec.containers: Input should be a valid list", {"template": {"spec": {"containers": {}}}}),
        ("spec.template.spec.containers.0.name: Field required", {"template": {"spec": {"containers": [{}]}}}),
        ("spec.template.metadata.labels.app: Input", {"template": {"metadata": {"labels": {"app": 1}}}}),
        ("a field has the name that it has in Python", {"min_ready_seconds": 3}),
    ],
)  # fmt: skip
def test_a_fault_in_an_object_of_kubernetes_is_noticed(fault: str, change: Object) -> None:
    body = copy.deepcopy(one("prisma.yaml", "Deployment", "shop"))
    body["spec"].update(change)
    assert [each for each in faults(body) if each.startswith(fault)]


@pytest.mark.parametrize("each", of("Deployment", "Job"), ids=named)
def test_pods_fit_the_restricted_profile(each: tuple[Path, Object]) -> None:
    assert unrestricted(each[1]["spec"]["template"]["spec"]) == []


# One beside the other.


@pytest.mark.parametrize("path", sorted({path for path, _ in of("Deployment", "Job")}), ids=lambda path: path.stem)
def test_an_application_reads_keys_that_its_sample_has(path: Path) -> None:
    (pool,) = (model(body) for body in objects(path) if body["kind"] == naming.KIND)
    keys = {
        entry.name: set(connection_secret(pool, entry, Login("shop", "x"))["data"])
        for entry in connection_secrets(pool)
    }
    maps = {body["metadata"]["name"] for body in objects(path) if body["kind"] == "ConfigMap"}
    for container in containers(path):
        for variable in container.get("env", ()):
            reference = variable["valueFrom"]["secretKeyRef"]
            assert reference["key"] in keys[reference["name"]]
        for source in container.get("envFrom", ()):
            assert source.get("configMapRef", {"name": None})["name"] in {None, *maps}
            assert source.get("secretRef", {"name": None})["name"] in {None, *keys}


def test_the_comment_of_the_application_reads_variables_that_it_has() -> None:
    path = FOLDER / "prisma.yaml"
    data = one(path.name, "ConfigMap", "shop-database")["data"]
    variables = {each["name"] for container in containers(path) for each in container.get("env", ())}
    read_by = set(re.findall(r"process\.env\.(\w+)", path.read_text(encoding="utf-8")))
    assert read_by == set(data) | (variables - {"POSTGRES_URL_NON_POOLING"})
    assert all(set(environment(name)) == set(data) for name in ENVIRONMENTS)


def test_selectors_and_references_lead_to_objects_of_the_sample() -> None:
    for path, body in of("Deployment", "HorizontalPodAutoscaler", naming.KIND):
        names = {(each["kind"], each["metadata"]["name"]) for each in objects(path)}
        match body["kind"]:
            case "Deployment":
                labels = body["spec"]["template"]["metadata"]["labels"]
                assert body["spec"]["selector"]["matchLabels"] == labels
            case "HorizontalPodAutoscaler":
                target = body["spec"]["scaleTargetRef"]
                assert (target["kind"], target["name"]) in names
                assert "replicas" not in one(path.name, target["kind"], target["name"])["spec"]
            case _:
                workloads = body["spec"].get("clients", {}).get("workloads", ())
                assert {(each["kind"], each["name"]) for each in workloads} <= names
                if server := body["spec"]["backend"].get("serverRef"):
                    assert (naming.SERVER_KIND, server["name"]) in names


def test_the_certificate_is_that_of_the_pool_and_its_issuers_are_there() -> None:
    file = "tls-cert-manager.yaml"
    pool, certificate = one(file, naming.KIND, "shop-pool"), one(file, "Certificate", "shop-pool")
    assert certificate["spec"]["secretName"] == pool["spec"]["clients"]["tls"]["secretName"]
    assert certificate["spec"]["dnsNames"] == [naming.service_host("shop-pool", "shop")]
    authority = one(file, "Certificate", "shop-ca")
    assert authority["spec"]["isCA"]
    for each in (certificate, authority):
        issuer = one(file, each["spec"]["issuerRef"]["kind"], each["spec"]["issuerRef"]["name"])
        assert len(issuer["spec"]) == 1
    assert one(file, "Issuer", "shop-ca")["spec"] == {"ca": {"secretName": authority["spec"]["secretName"]}}


def test_what_gitops_tools_apply_is_told_completely() -> None:
    application = one("gitops-argo-cd.yaml", "Application", "shop-pools")["spec"]
    assert {"project", "source", "destination", "syncPolicy", "ignoreDifferences"} == set(application)
    (ignored,) = application["ignoreDifferences"]
    assert (ignored["group"], ignored["kind"]) == (naming.GROUP, naming.KIND)
    assert ignored["jsonPointers"] == ["/spec/replicas"]
    flux = one("gitops-flux.yaml", "Kustomization", "shop-pools")["spec"]
    repository = one("gitops-flux.yaml", flux["sourceRef"]["kind"], flux["sourceRef"]["name"])
    assert {"interval", "url", "ref"} == set(repository["spec"])
    assert (flux["wait"], flux["prune"], flux["path"]) == (True, True, f"./{application['source']['path']}")
    assert flux["targetNamespace"] == application["destination"]["namespace"]


def test_the_network_policies_let_through_what_a_pool_needs_and_select_pods_that_exist() -> None:
    file = "network-policy.yaml"
    assert one(file, "NetworkPolicy", "deny-all")["spec"]["podSelector"] == {}
    policy = one(file, "NetworkPolicy", "shop-pool")["spec"]
    pool = one(file, naming.KIND, "shop-pool")
    assert policy["podSelector"]["matchLabels"] == {naming.LABEL_POOL: pool["metadata"]["name"]}
    clients, operator, prometheus = policy["ingress"]
    application = one(file, "NetworkPolicy", "shop")["spec"]
    assert clients["from"] == [{"podSelector": application["podSelector"]}]
    assert application["egress"][0]["to"] == [{"podSelector": policy["podSelector"]}]
    assert ports(clients) == ports(application["egress"][0]) == [naming.PGBOUNCER_PORT]
    assert ports(operator) == ports(prometheus) == [naming.AGENT_PORT]
    (peer,) = operator["from"]
    labels = installed().one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()
    assert [ports(each) for each in policy["egress"]] == [[53, 53], [model(pool).spec.backend.port]]


def ports(rule: Object) -> list[Any]:
    return [each["port"] for each in rule["ports"]]


def installed() -> Answer:
    answer = rendered()
    assert answer.one("Deployment")["metadata"]["namespace"] == NAMESPACE
    return answer


@pytest.mark.parametrize(("name", "figures"), ENVIRONMENTS.items(), ids=ENVIRONMENTS)
def test_an_environment_has_the_figures_of_the_index(name: str, figures: tuple[int, int, int, int]) -> None:
    pool, data = model(one(f"{name}.yaml", naming.KIND, "shop-pool")), environment(name)
    server, most, idle, wait = figures
    assert pool.spec.server_connections.max == server
    assert data["POOL_MAX"] == str(most)
    assert data["POOL_IDLE_MILLISECONDS"] == str(idle * 1000)
    assert data["POOL_CONNECT_MILLISECONDS"] == str(wait * 1000)
    assert int(data["POOL_LIFETIME_SECONDS"]) < pool.spec.drain.timeout_seconds
    (row,) = re.findall(rf"^\| \[{name}\.yaml\].+$", documents.text(FOLDER / "README.md"), re.MULTILINE)
    assert row.endswith(f"| {server} | {most} | {idle} s | {wait} s |")
