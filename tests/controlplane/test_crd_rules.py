"""The CRDs on a real API server: they are accepted with all their rules, and judge as the models do.

The definitions are registered under a group of this file's own, so that no other test or installed chart is disturbed.
"""

import copy
import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.contract import servers, shapes
from tests.contract.pools import BAD, GOOD, SECRET, Bad, Object, pool, put
from tests.localcluster.fixture import Cluster, cluster
from tests.localcluster.problem import Problem
from tests.localcluster.waiting import until
from tests.unit.api.test_status import FULL

from pgbouncer_operator import naming
from pgbouncer_operator.api import crd, crd_server

__all__ = ["cluster"]  # pytest finds the fixture by its name here

pytestmark = pytest.mark.controlplane

GROUP = "rules.example.com"
RESOURCE = f"{naming.PLURAL}.{GROUP}"
SERVERS = f"{naming.SERVER_PLURAL}.{GROUP}"


SERVER_STATUS: Object = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Shared",
            "message": "1 pool shares 96 connections.",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
    "limits": {"maxConnections": 100, "reserved": 3, "started": "2026-01-01T00:00:00.000Z"},
    "advice": [{"reason": "LimitNearSum", "message": "1 are left."}],
    "budget": 96,
    "allocated": 20,
    "pools": 1,
    "seq": 4,
    "allocations": [{"pool": "web/shop", "uid": "u", "connections": 20, "high": 20, "seq": 4}],
}


UNASKED = re.compile("must be (an integer|a number of seconds|names and commas|words with commas)")
"""Messages of the rules that 1.33 does not have."""


@dataclass(frozen=True)
class Server:
    """The API server with the definitions in it."""

    cluster: Cluster

    @functools.cached_property
    def older(self) -> bool:
        """Whether it is 1.33, which gets the definition without costly rules."""
        return bool(json.loads(self.kubectl("version", "--output=json"))["serverVersion"]["minor"] == "33")

    def kubectl(self, *arguments: str, body: Object | None = None) -> str:
        return self.cluster.kubectl(*arguments, input=json.dumps(body) if body else None)

    def verdict(self, body: Object) -> list[str]:
        """Every error that the server has about an object; nothing is stored."""
        try:
            self.kubectl("create", "--dry-run=server", "--validate=ignore", "--filename=-", body=moved(body))
        except Problem as refusal:
            return errors(str(refusal))
        return []


def moved(body: Object) -> Object:
    return {**copy.deepcopy(body), "apiVersion": f"{GROUP}/{naming.VERSION}"}


def errors(text: str) -> list[str]:
    """Split what kubectl says of an invalid object: one error behind a colon, or a list with bullets."""
    _, found, said = text.replace("map[string]interface {}", "").partition(" is invalid: ")  # as 1.33 writes values
    assert found, text
    if not said.lstrip().startswith("* "):
        return [said.strip()]
    return [error.strip() for error in said.lstrip().removeprefix("* ").split("\n* ")]


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[Server]:
    here = Server(cluster)
    pools = crd.without_costly_rules(crd.render()) if here.older else crd.render()
    for resource, document in ((RESOURCE, pools), (SERVERS, crd_server.render())):
        define(here, resource, document)
    yield here
    here.kubectl("delete", "crd", RESOURCE, SERVERS)


def define(here: Server, resource: str, document: Object) -> None:
    """Register a definition under the group of this file, and wait until it is served."""
    document["metadata"]["name"] = resource
    document["spec"]["group"] = GROUP
    here.kubectl("delete", "crd", resource, "--ignore-not-found")
    here.kubectl("create", "--filename=-", body=document)
    until(lambda: "" if served(here, resource) else f"the API server serves {resource}", seconds=60)


def served(here: Server, resource: str) -> bool:
    try:
        here.kubectl("get", resource)
    except Problem:
        return False
    return True


@pytest.fixture
def stored(server: Server) -> Iterator[Server]:
    """The server with the first example in it."""
    server.kubectl("create", "--filename=-", body=moved(pool()))
    yield server
    server.kubectl("delete", RESOURCE, "shop-pool")


@pytest.mark.parametrize("resource", [RESOURCE, SERVERS])
def test_the_definition_is_accepted_with_every_rule_in_its_cost_budget(server: Server, resource: str) -> None:
    conditions = json.loads(server.kubectl("get", "crd", resource, "--output=json"))["status"]["conditions"]
    states = {condition["type"]: condition["status"] for condition in conditions}
    assert states["Established"] == "True"
    assert states["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in states


@pytest.mark.parametrize(("sentence", "body"), [*GOOD, *shapes.GOOD])
def test_the_server_accepts_a_good_pool(server: Server, sentence: str, body: Object) -> None:
    assert server.verdict(body) == [], sentence


@pytest.mark.parametrize(("sentence", "body"), servers.GOOD, ids=[sentence for sentence, _ in servers.GOOD])
def test_the_server_accepts_a_good_postgres_server(server: Server, sentence: str, body: Object) -> None:
    assert server.verdict(body) == [], sentence


@pytest.mark.parametrize("bad", [*BAD, *shapes.BAD], ids=lambda bad: bad.sentence)
def test_the_server_refuses_a_bad_pool_with_the_field_and_the_remedy(server: Server, bad: Bad) -> None:
    judge(server, bad)


@pytest.mark.parametrize("bad", shapes.UNSEEN, ids=lambda bad: bad.sentence)
def test_the_server_takes_what_the_definition_does_not_describe(server: Server, bad: Bad) -> None:
    assert server.verdict(bad.body) == []


@pytest.mark.parametrize("bad", servers.BAD, ids=[bad.sentence for bad in servers.BAD])
def test_the_server_refuses_a_bad_postgres_server_with_the_field_and_the_remedy(server: Server, bad: Bad) -> None:
    judge(server, bad)


def judge(server: Server, bad: Bad) -> None:
    if server.older and bad.server is None and UNASKED.search(bad.message):
        assert server.verdict(bad.body) == []
        return
    # In an error of a rule the API server writes the key of a map in brackets, in one of the schema behind a dot.
    said = [re.sub(r"\[([A-Z][^]]*)\]", r".\1", error, count=1) for error in server.verdict(bad.body)]
    named = [error for error in said if error.startswith(f"{bad.field}: ")]
    assert any((bad.server or bad.message) in error for error in named), said
    if bad.server is None:
        assert len(said) == 1
        assert said[0].endswith(f": {bad.message}")


def test_a_misspelt_field_is_refused_by_kubectl(server: Server) -> None:
    with pytest.raises(Problem, match=r'unknown field "spec[.]poolmode"'):
        server.kubectl("create", "--dry-run=server", "--filename=-", body=moved(pool(put(poolmode="session"))))


def test_defaults_are_written_into_the_object(stored: Server) -> None:
    spec = json.loads(stored.kubectl("get", RESOURCE, "shop-pool", "--output=json"))["spec"]
    assert spec["backend"] == {"host": "postgres", "port": 5432}
    assert spec["poolMode"] == "transaction"
    assert spec["replicas"] == 2
    assert spec["timeouts"]["queryWaitSeconds"] == 30
    assert spec["drain"] == {"timeoutSeconds": 120, "transactionSeconds": 60}
    assert spec["pod"] == {"resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}


def test_an_autoscaler_may_ask_for_more_pods_than_fit(stored: Server) -> None:
    stored.kubectl("scale", RESOURCE, "shop-pool", "--replicas=1000")
    assert stored.kubectl("get", RESOURCE, "shop-pool", "--output=jsonpath={.spec.replicas}") == "1000"


def test_a_full_status_is_accepted_and_shown_in_one_line(stored: Server) -> None:
    report(stored, FULL.wire())
    heads, values = table(stored.kubectl("get", RESOURCE))
    assert heads == ["NAME", "READY", "REASON", "PODS", "CONNECTIONS", "CLIENTS", "WAITING", "AGE"]
    assert values[:-1] == ["shop-pool", "True", "Ready", "2/2", "7/25", "412", "0"]
    heads, values = table(stored.kubectl("get", RESOURCE, "--output=wide"))
    assert heads[-3:] == ["MODE", "ENDPOINT", "IMAGE"]
    assert values[-3:] == ["transaction", "shop-pool.shop.svc:6432", "pgbouncer:1.26.1"]


def test_status_is_kept_whole(stored: Server) -> None:
    report(stored, FULL.wire())
    assert json.loads(stored.kubectl("get", RESOURCE, "shop-pool", "--output=json"))["status"] == FULL.wire()


def test_a_postgres_servers_status_is_kept_whole_and_shown_in_one_line(server: Server) -> None:
    server.kubectl("create", "--filename=-", body=moved(servers.server()))
    try:
        report(server, SERVER_STATUS, SERVERS, "rds")
        assert json.loads(server.kubectl("get", SERVERS, "rds", "--output=json"))["status"] == SERVER_STATUS
        heads, values = table(server.kubectl("get", SERVERS), "rds")
    finally:
        server.kubectl("delete", SERVERS, "rds")
    assert heads == ["NAME", "READY", "REASON", "MAX", "BUDGET", "ALLOCATED", "POOLS", "AGE"]
    assert values[:-1] == ["rds", "True", "Shared", "100", "96", "20", "1"]


def test_the_scale_subresource_shows_pods_and_selector(stored: Server) -> None:
    report(stored, FULL.wire())
    path = f"/apis/{GROUP}/{naming.VERSION}/namespaces/default/{naming.PLURAL}/shop-pool/scale"
    scale = json.loads(stored.kubectl("get", "--raw", path))
    assert scale["spec"]["replicas"] == 2
    assert scale["status"] == {"replicas": 2, "selector": "pgbouncer-operator.io/pool=shop-pool"}


def test_two_teams_apply_users_side_by_side(stored: Server) -> None:
    for team in ("web", "jobs"):
        body = moved(pool(put(users=[{"name": team, "secretRef": {"name": team}}])))
        stored.kubectl("apply", "--server-side", f"--field-manager={team}", "--filename=-", body=body)
    names = stored.kubectl("get", RESOURCE, "shop-pool", "--output=jsonpath={.spec.users[*].name}")
    assert names.split() == ["shop", "web", "jobs"]


def test_a_rule_over_two_lists_holds_on_updates_too(stored: Server) -> None:
    change = json.dumps({"spec": {"connectionSecrets": [{**SECRET, "user": "gone"}]}})
    with pytest.raises(Problem, match="connectionSecrets names the user gone"):
        stored.kubectl("patch", RESOURCE, "shop-pool", "--type=merge", f"--patch={change}")


def test_kubectl_explains_every_field(server: Server) -> None:
    told = server.kubectl("explain", f"{naming.PLURAL}.spec", "--recursive", f"--api-version={GROUP}/{naming.VERSION}")
    words = {line.split()[0] for line in told.splitlines() if line.strip()}
    document = json.loads(server.kubectl("get", "--raw", f"/openapi/v3/apis/{GROUP}/{naming.VERSION}"))
    schema = next(part for name, part in document["components"]["schemas"].items() if name.endswith(f".{naming.KIND}"))
    fields = list(described(schema["properties"]["spec"]))
    assert len(fields) > 60
    for name, description in fields:
        assert name in words
        assert len(description) >= 20, name


def described(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, child in node.get("properties", {}).items():
        yield name, child.get("description", "")
        yield from described(child)
    if "items" in node:
        yield from described(node["items"])


def report(here: Server, status: Object, resource: str = RESOURCE, name: str = "shop-pool") -> None:
    change = json.dumps({"status": status})
    here.kubectl("patch", resource, name, "--subresource=status", "--type=merge", f"--patch={change}")


def table(text: str, name: str = "shop-pool") -> tuple[list[str], list[str]]:
    heads, *rows = text.splitlines()
    (row,) = [row for row in rows if row.startswith(f"{name} ")]
    return heads.split(), row.split()
