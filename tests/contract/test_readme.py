"""README says what the code does: its manifests are valid, and every name in it exists."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import readme
from tests.localcluster import demo, deploy, images

from pgbouncer_operator import naming, offline
from pgbouncer_operator.agent import removal, settings
from pgbouncer_operator.agent.metrics import DATABASES, POOLS, STATS, of_agent
from pgbouncer_operator.agent.state import Backend, BackendReason, Reload, ReloadKind, State
from pgbouncer_operator.api import crd
from pgbouncer_operator.api.conditions import ConditionType
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.metrics import Metrics
from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.reconcile.specification import read
from pgbouncer_operator.resources.connection_secret import Login, connection_secret, connection_secrets

ROOT = readme.REPOSITORY
TEXT = readme.README.read_text(encoding="utf-8")
PAGES = sorted(
    [readme.README, ROOT / "CONTRIBUTING.md", ROOT / "tests/localcluster/README.md", *(ROOT / "operator").rglob("*.md")]
)
MANIFESTS = [body for block in readme.blocks("yaml") for body in yaml.safe_load_all(block.text)]
POOL: dict[str, Any] = next(body for body in MANIFESTS if body["kind"] == naming.KIND)
SPEC = crd.render(offline.parameter_rules())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
QUICK_START = next(block for block in readme.blocks("sh") if "helm install" in block.text)


def pool() -> ConnectionPool:
    metadata = {**POOL["metadata"], "namespace": "shop", "uid": offline.PLACEHOLDER_UID}
    return read({**POOL, "metadata": metadata})


def section(title: str) -> str:
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


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


def test_the_first_pool_is_the_one_that_the_demo_applies() -> None:
    assert yaml.safe_load(demo.example()) == POOL
    assert POOL["metadata"]["name"] == demo.POOL
    assert POOL["spec"]["serverConnections"]["max"] == demo.MOST
    assert pool().spec.replicas == demo.PODS
    assert f"{demo.CLIENTS:,} clients" in TEXT
    assert f"{demo.SECONDS} seconds" in TEXT


def test_the_quick_start_is_three_commands_and_twelve_lines_of_yaml() -> None:
    assert len(QUICK_START.commands) <= 3
    assert len(demo.example().splitlines()) <= 12


def test_applications_read_keys_that_the_connection_secrets_have() -> None:
    secrets = {
        each.name: connection_secret(pool(), each, Login("shop", "x"))["data"] for each in connection_secrets(pool())
    }
    referenced = [
        variable["valueFrom"]["secretKeyRef"]
        for body in MANIFESTS
        if body["kind"] == "Deployment"
        for container in body["spec"]["template"]["spec"]["containers"]
        for variable in container["env"]
    ]
    assert len(referenced) == 2
    for reference in referenced:
        assert reference["key"] in secrets[reference["name"]]


def test_every_key_of_a_connection_secret_is_named() -> None:
    told = set(re.findall(r"[\w-]+", section("Connect an application")))
    for entry in connection_secrets(pool()):
        assert set(connection_secret(pool(), entry, Login("shop", "x"))["data"]) <= told


def test_the_certificate_is_the_one_that_pools_name_and_names_their_hosts() -> None:
    """A kind that is not ours and not Kubernetes' own: only its words can be compared."""
    ((certificate,),) = [list(yaml.safe_load_all(block.text)) for block in readme.blocks("yml")]
    assert (certificate["apiVersion"], certificate["kind"]) == ("cert-manager.io/v1", "Certificate")
    (reachable,) = [body["spec"] for body in MANIFESTS if "service" in body["spec"]]
    assert certificate["spec"]["secretName"] == reachable["clients"]["tls"]["secretName"]
    host = naming.service_host(demo.POOL, "shop")
    assert certificate["spec"]["dnsNames"] == [host, reachable["service"]["externalHost"]]


def test_every_other_manifest_has_the_shape_of_its_kind() -> None:
    known = {naming.KIND: naming.API_VERSION, naming.SERVER_KIND: naming.API_VERSION}
    known |= {"Deployment": "apps/v1", "HorizontalPodAutoscaler": "autoscaling/v2"}
    for body in MANIFESTS:
        assert body["apiVersion"] == known[body["kind"]]
        assert body["metadata"]["name"]
        if body["kind"] == "Deployment":
            labels = body["spec"]["template"]["metadata"]["labels"]
            assert body["spec"]["selector"]["matchLabels"].items() <= labels.items()


# Commands.


def makefile() -> set[str]:
    return set(re.findall(r"^\.PHONY: ([\w-]+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    quoted = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^ {4}(.+)$", text, re.MULTILINE)
    code = [*quoted, *(line for block in readme.blocks("sh", text) for line in block.commands)]
    called = [word for line in code for word in _targets(line)]
    assert set(called) <= makefile()


def _targets(line: str) -> list[str]:
    """The targets of a call of make in a shell line."""
    found = re.search(r"(?:^|\$\()make((?: [^\s\")]+)+)", line.split("  ")[0])
    return [word for word in found[1].split() if not word.startswith("-") and "=" not in word] if found else []


def test_make_help_lists_every_target() -> None:
    said = subprocess.run(
        ["make", "-s", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert {line.split()[0] for line in said.splitlines()} == makefile()


def test_continuous_integration_runs_the_test_command_of_readme() -> None:
    assert "make test" in readme.commands()
    assert (ROOT / ".ci/run").read_text(encoding="utf-8").rstrip().endswith("exec make test")


def test_the_chart_is_installed_as_the_tests_install_it() -> None:
    words = next(command for command in readme.commands() if command.startswith("helm install")).split()
    assert words[2:4] == [deploy.RELEASE, str(deploy.CHART.relative_to(ROOT))]
    assert words[words.index("-n") + 1] == deploy.NAMESPACE
    assert "--create-namespace" in words
    assert f"helm uninstall {deploy.RELEASE} -n {deploy.NAMESPACE}" in readme.commands()
    definitions = " ".join(f"{each}.{naming.GROUP}" for each in (naming.PLURAL, naming.SERVER_PLURAL))
    assert f"kubectl delete crd {definitions}" in readme.commands()


def test_the_registry_pushed_to_is_the_registry_installed_from() -> None:
    push, install, _ = QUICK_START.commands
    registry = push.partition("REGISTRY=")[2]
    assert install.endswith(f"--set registry={registry}")
    values = yaml.safe_load((deploy.CHART / "values.yaml").read_text(encoding="utf-8"))
    assert values["registry"] == ""
    assert {values[each]["repository"].rpartition("/")[2] for each in ("image", "poolImage")} == set(images.RELEASED)


# Names.


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors
        elif not target.startswith("https://"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("condition", list(ConditionType))
def test_every_condition_is_named(condition: ConditionType) -> None:
    assert f"`{condition}`" in section("When something is wrong")


def test_every_field_named_exists() -> None:
    top = "|".join(SPEC["properties"])
    named = set(re.findall(rf"`(?:spec\.)?((?:{top})(?:\.[a-zA-Z]+)+)`", TEXT))
    named |= set(re.findall(r"`spec\.([a-zA-Z.]+)`", TEXT))
    assert len(named) >= 8
    for path in named - chart_values():
        node = SPEC
        for key in path.split("."):
            node = node.get("items", node)
            assert key in node["properties"], path
            node = node["properties"][key]


def chart_values() -> set[str]:
    """Paths of the chart's values that README names with what they are set to, or that switch something on."""
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


def test_the_seconds_in_the_exceptions_are_those_of_the_code() -> None:
    told = section("What is promised")
    assert f"gets no grant for {settings.Settings.__dataclass_fields__['static_after'].default:.0f} seconds" in told
    assert f"goes on for {removal.TRANSACTION_SECONDS:.0f} seconds more" in told


def test_every_metric_is_named_and_no_other() -> None:
    rows = re.findall(r"^\| (`pgbouncer.*?) \|", section("Metrics"), re.MULTILINE)
    assert len(rows) == 3
    operator, agent, families = ([each.strip("`") for each in row.split(", ")] for row in rows)
    assert whole(operator, naming.FIELD_MANAGER.replace("-", "_")) == {
        sample(metric.name, metric.type)
        for metric in Metrics().registry.collect()
        if not metric.name.startswith("process_")
    }
    state = State("uid", "1", backend=Backend(BackendReason.OK), reload=Reload("0", 0.1, ReloadKind.RELOAD))
    assert whole(agent, "pgbouncer_operator_agent") == {sample(metric.name, metric.type) for metric in of_agent(state)}
    assert families == ["pgbouncer_up", *(f"pgbouncer_{each}_*" for each in ("pool", "database", "stats"))]
    assert all((POOLS, DATABASES, STATS))


def whole(names: list[str], stem: str) -> set[str]:
    return {stem + name if name.startswith("_") else name for name in names}


def sample(name: str, kind: str) -> str:
    return name + {"counter": "_total", "info": "_info"}.get(kind, "")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"parameters: \{(\w+)", TEXT))))
def test_every_setting_shown_may_be_set(name: str) -> None:
    row = parameters.lookup(name)
    assert row is not None
    assert row.audience is parameters.Audience.USER
