"""README and the pages of operator/docs say what the code does: manifests are valid, every name in them exists.

Their commands and manifests meet a real cluster in tests/cluster/test_document_blocks.py. A block of another language
needs a test of its own: `LANGUAGES` names it.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from tests import documents
from tests.localcluster import deploy
from tests.reference import fields

from pgbouncer_operator import naming, offline
from pgbouncer_operator.admission import PLACEHOLDER_UID
from pgbouncer_operator.api import crd
from pgbouncer_operator.api.conditions import ConditionType
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.reconcile.specification import read
from pgbouncer_operator.resources.connection_secret import connection_secret, connection_secrets
from pgbouncer_operator.resources.login import Login
from pgbouncer_operator.resources.template_version import VERSION

# What a block of this language is held against.
LANGUAGES = {
    "yaml": "Kubernetes manifests: the tests below, and the API server of the cluster",
    "yml": "the chart's values, and objects of kinds that our cluster does not have: the tests below",
    "sh": "run on the cluster",
    "sql": "run by PostgreSQL in the cluster",
    "ts": "test_typescript_reads_variables_that_its_page_sets",
    "console": "test_documents_plugin.py: what `kubectl pgbouncer` prints",
    "ini": "test_documents_plugin.py: what `kubectl pgbouncer import` reads",
    "mermaid": "test_a_diagram_has_no_loose_ends",
    "text": "test_readme.py: what `make demo` prints",
    "": "the output of kubectl on the cluster",
}
DOCS = documents.DOCS
TEXT = documents.text()
MANIFESTS = [body for block in documents.blocks("yaml") for body in yaml.safe_load_all(block.text)]
POOL: dict[str, Any] = next(body for body in MANIFESTS if body["kind"] == naming.KIND)
SPEC = crd.render()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def pool() -> ConnectionPool:
    metadata = {**POOL["metadata"], "namespace": "shop", "uid": PLACEHOLDER_UID}
    return read({**POOL, "metadata": metadata})


def page(name: str) -> str:
    return documents.text(DOCS / name)


# Blocks.


@pytest.mark.parametrize("command", sorted(set(documents.commands())))
def test_a_command_is_a_whole_line_for_a_shell(command: str) -> None:
    """The cluster runs each by itself."""
    done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_fenced_block_has_a_language_that_is_tested() -> None:
    assert not [(str(block), block.language) for block in documents.every_block() if block.language not in LANGUAGES]


def test_no_block_is_hidden_from_the_tests() -> None:
    for path in documents.pages():
        fences = re.findall(r"^\s*(?:```|~~~).*$", documents.text(path), re.MULTILINE)
        assert len(fences) == 2 * len(documents.every_block(path)), f"{path}: a fence is indented, or has no end"


def test_typescript_reads_variables_that_its_page_sets() -> None:
    found = documents.blocks("ts")
    assert found
    for block in found:
        containers = [
            container
            for each in documents.blocks("yaml", block.page)
            for body in yaml.safe_load_all(each.text)
            if body["kind"] == "Deployment"
            for container in body["spec"]["template"]["spec"]["containers"]
        ]
        variables = re.findall(r"process\.env\.(\w+)", block.text)
        assert set(variables) <= {each["name"] for container in containers for each in container["env"]}, block
        assert all(block.text.count(left) == block.text.count(right) for left, right in ("()", "[]", "{}")), block


def test_a_diagram_has_no_loose_ends() -> None:
    for block in documents.blocks("mermaid"):
        first, *lines = block.text.splitlines()
        assert re.fullmatch(r"flowchart (LR|TB)|sequenceDiagram", first), block
        assert all(block.text.count(left) == block.text.count(right) for left, right in ("()", "[]", '""')), block
        words = [line.split()[0] for line in lines]
        assert words.count("subgraph") == words.count("end"), block


# Manifests.


def test_every_pool_is_valid() -> None:
    text = yaml.safe_dump_all(body for body in MANIFESTS if body["kind"] == naming.KIND)
    assert offline.check(text).problems == ()


def test_every_field_of_every_pool_is_in_the_schema() -> None:
    for body in MANIFESTS:
        if body["kind"] == naming.KIND:
            assert not list(strangers(body["spec"], SPEC))


def strangers(value: object, schema: dict[str, Any]) -> Iterator[str]:
    if isinstance(value, dict) and "properties" in schema:
        for key, child in value.items():
            if key in schema["properties"]:
                yield from strangers(child, schema["properties"][key])
            else:
                yield key
    elif isinstance(value, list):
        for child in value:
            yield from strangers(child, schema["items"])


def test_applications_read_keys_that_the_connection_secrets_have() -> None:
    secrets = {
        each.name: connection_secret(pool(), each, Login("shop", "x"))["data"] for each in connection_secrets(pool())
    }
    containers = [
        container
        for body in MANIFESTS
        if body["kind"] in {"Deployment", "Job"}
        for container in body["spec"]["template"]["spec"]["containers"]
    ]
    named = [each["valueFrom"]["secretKeyRef"] for container in containers for each in container.get("env", ())]
    whole = [each["secretRef"]["name"] for container in containers for each in container.get("envFrom", ())]
    assert len(named) == 2
    for reference in named:
        assert reference["key"] in secrets[reference["name"]]
    assert len(whole) == 2
    assert set(whole) <= set(secrets)


def test_every_key_of_a_connection_secret_has_its_place_in_the_table_of_keys_and_no_other() -> None:
    table = page("how-to/connect-an-application.md").partition("\n| keys | for |\n")[2].partition("\n\n")[0]
    cells = [line.split(" | ")[0] for line in table.splitlines()]
    listed = {key for cell in cells for keys in re.findall(r"`([^`]+)`", cell) for key in keys.split()}
    written = {
        key
        for entry in connection_secrets(pool())
        for key in connection_secret(pool(), entry, Login("shop", "x"), ca="PEM")["data"]
    }
    assert listed == written


def test_every_other_manifest_has_the_shape_of_its_kind() -> None:
    known = {naming.KIND: naming.API_VERSION, naming.SERVER_KIND: naming.API_VERSION}
    known |= {"Deployment": "apps/v1", "Job": "batch/v1", "HorizontalPodAutoscaler": "autoscaling/v2", "Secret": "v1"}
    for body in MANIFESTS:
        assert body["apiVersion"] == known[body["kind"]]
        assert body["metadata"]["name"]
        if body["kind"] == "Deployment":
            labels = body["spec"]["template"]["metadata"]["labels"]
            assert body["spec"]["selector"]["matchLabels"].items() <= labels.items()


# Objects of kinds that our cluster does not have, and values of the chart.


def foreign() -> Iterator[dict[str, Any]]:
    for block in documents.blocks("yml"):
        yield from yaml.safe_load_all(block.text)


def test_every_value_of_the_chart_shown_is_in_its_schema() -> None:
    schema = json.loads((deploy.CHART / "values.schema.json").read_text(encoding="utf-8"))
    found = [body for body in foreign() if "kind" not in body]
    assert found
    for body in found:
        jsonschema.Draft7Validator(schema).validate(body)


def test_there_is_no_other_foreign_object_than_the_two_that_are_tested_here() -> None:
    kinds = [(body["apiVersion"], body["kind"]) for body in foreign() if "kind" in body]
    assert sorted(kinds) == [("cert-manager.io/v1", "Certificate"), ("v1", "ConfigMap")]


def test_the_certificate_is_the_one_that_pools_name_and_names_their_hosts() -> None:
    (certificate,) = (body for body in foreign() if body.get("kind") == "Certificate")
    (reachable,) = [body["spec"] for body in MANIFESTS if "service" in body.get("spec", ())]
    assert certificate["spec"]["secretName"] == reachable["clients"]["tls"]["secretName"]
    host = naming.service_host(POOL["metadata"]["name"], "shop")
    assert certificate["spec"]["dnsNames"] == [host, reachable["service"]["externalHost"]]


def test_the_health_check_for_argo_cd_is_of_our_kind_and_reads_what_a_pool_has() -> None:
    (config,) = (body for body in foreign() if body.get("kind") == "ConfigMap")
    assert (config["metadata"]["name"], config["metadata"]["namespace"]) == ("argocd-cm", "argocd")
    ((key, script),) = config["data"].items()
    assert key == f"resource.customizations.health.{naming.GROUP}_{naming.KIND}"
    assert set(re.findall(r'condition\.type == "(\w+)"', script)) == {ConditionType.READY, ConditionType.STALLED}
    assert set(re.findall(r"obj\.status\.(\w+)", script)) == {"conditions", "observedGeneration"}


# Names.


def test_every_release_of_the_changelog_has_its_section_in_the_page_about_upgrades() -> None:
    changelog = documents.text(documents.REPOSITORY / "CHANGELOG.md")
    releases = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    assert releases == re.findall(r"^### (.+)$", page("how-to/upgrade.md"), re.MULTILINE)


def test_every_field_named_exists() -> None:
    definitions = (fields.pool_schema(), fields.server_schema())
    known = {each.path for one in definitions for top in ("spec", "status") for each in fields.walk_below(top, one)}
    tops = "|".join({path.split(".")[1] for path in known if path.startswith("spec.")})
    named = set(re.findall(r"`((?:spec|status)\.[a-zA-Z.\[\]]+)`", TEXT))
    named |= {f"spec.{each}" for each in re.findall(rf"`((?:{tops})(?:\[\])?(?:\.[a-zA-Z]+(?:\[\])?)+)`", TEXT)}
    assert len(named) > len(known) / 2
    named -= {f"spec.{each}" for each in chart_values()}
    assert {each for each in named if not each.endswith(".json")} <= known


def chart_values() -> set[str]:
    """Paths of the chart's values that pages name with what they are set to, or that switch something on."""
    return set(re.findall(r"`(\w+\.\w*enabled)(?:=\w+)?`", TEXT))


def test_every_value_of_the_chart_named_exists() -> None:
    values = yaml.safe_load((deploy.CHART / "values.yaml").read_text(encoding="utf-8"))
    named = chart_values() | {"watchNamespaces"}
    assert len(named) >= 4
    for path in named:
        node = values
        for key in path.split("."):
            assert key in node, path
            node = node[key]


@pytest.mark.parametrize("condition", list(ConditionType))
def test_every_condition_is_named(condition: ConditionType) -> None:
    assert f"`{condition}`" in page("how-to/diagnose.md")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"parameters: \{(\w+)", TEXT))))
def test_every_setting_shown_may_be_set(name: str) -> None:
    row = parameters.lookup(name)
    assert row is not None
    assert row.audience is parameters.Audience.USER


def test_the_upgrade_page_names_the_present_version_of_the_pod_template() -> None:
    page = (DOCS / "how-to" / "upgrade.md").read_text(encoding="utf-8")
    assert f"{naming.ANNOTATION_TEMPLATE_VERSION}={VERSION}\n" in page
