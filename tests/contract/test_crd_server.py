"""The definition of PostgresServer: structural, bounded, described, small, and of one mind with the models."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.contract.pools import Bad, Object
from tests.contract.servers import BAD, GOOD, server
from tests.contract.test_crd import ALLOWED, VALIDATIONS, nodes

from pgbouncer_operator.api import crd, crd_server
from pgbouncer_operator.api.connection_pool import FieldProblem, InvalidSpec
from pgbouncer_operator.api.definition import to_yaml
from pgbouncer_operator.api.postgres_server import parse

DOCUMENT = crd_server.render()
SCHEMA = DOCUMENT["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
PARTS = [*nodes(SCHEMA["properties"]["spec"], "spec"), *nodes(SCHEMA["properties"]["status"], "status")]
FIELDS = [(path, node) for path, node in PARTS if not path.endswith(("[]", "{}"))]
CRDS = Path(__file__).parents[2] / "crds"


def test_the_text_is_plain_yaml_below_30_kilobytes() -> None:
    text = (CRDS / crd_server.FILE).read_text()
    assert yaml.safe_load(text) == DOCUMENT
    assert text == to_yaml(DOCUMENT)
    assert len(text.encode()) < 30_000


@pytest.mark.parametrize(("path", "node"), PARTS, ids=[path for path, _ in PARTS])
def test_every_part_is_structural_and_bounded(path: str, node: dict[str, Any]) -> None:
    assert set(node) <= ALLOWED
    if node.get("type") == "string" and "enum" not in node:
        assert "maxLength" in node
    if node.get("type") == "array":
        assert "maxItems" in node
    if "additionalProperties" in node:
        assert "maxProperties" in node


@pytest.mark.parametrize(("path", "node"), FIELDS, ids=[path for path, _ in FIELDS])
def test_every_field_is_described_and_tells_its_default(path: str, node: dict[str, Any]) -> None:
    assert len(node["description"]) >= 20
    if path.startswith("spec.") and "default" in node and not isinstance(node["default"], (dict, list)):
        assert f"Default: {node['default']}" in node["description"]


@pytest.mark.parametrize(("path", "node"), FIELDS, ids=[path for path, _ in FIELDS])
def test_no_text_of_the_spec_takes_a_line_break(path: str, node: dict[str, Any]) -> None:
    if not path.startswith("spec") or node.get("type") != "string" or "enum" in node:
        return
    rules = "\n".join(entry["rule"] for entry in node.get(VALIDATIONS, []))
    barriers = [node.get("pattern", ""), *re.findall(r'self\.matches\(r"(.*?)"\)', rules)]
    assert any(barrier and not re.search(barrier, "a\nb") for barrier in barriers)


@pytest.mark.parametrize("kind", [crd, crd_server], ids=["ConnectionPool", "PostgresServer"])
def test_no_item_of_a_list_has_a_default_so_that_what_is_applied_comes_back_as_it_was_written(kind: Any) -> None:
    """kubectl apply and Argo CD compare lists as a whole: a default in an item is a difference for ever."""
    schema = kind.render()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert [path for path, node in nodes(schema, "spec") if "default" in node and "[]" in path] == []


def test_every_column_shows_a_field_that_exists() -> None:
    known = {path for path, _ in PARTS}
    for column in DOCUMENT["spec"]["versions"][0]["additionalPrinterColumns"]:
        path = column["jsonPath"].partition("[?")[0].removeprefix(".")
        assert path in known or path == "metadata.creationTimestamp"


def test_the_budget_is_what_is_left_without_unpooled_and_headroom() -> None:
    spec = parse(server(connections={"max": 400, "unpooled": 30, "headroomPercent": 10})).spec
    assert spec.connections.budget == 333


def test_without_a_maximum_the_budget_is_not_known_here() -> None:
    assert parse(server(connections={})).spec.connections.budget is None
    assert parse(server(connections={"unpooled": 5, "headroomPercent": 10})).spec.connections.budget is None


def test_a_namespace_has_its_own_share_or_the_default() -> None:
    share = {"namespace": "shop", "guaranteed": 20, "max": 60, "weight": 30}
    spec = parse(server(shares=[share], defaultShare={"max": 40})).spec
    assert (spec.share_of("shop").guaranteed, spec.share_of("shop").max) == (20, 60)
    assert (spec.share_of("bank").guaranteed, spec.share_of("bank").max, spec.share_of("bank").weight) == (0, 40, 10)


@pytest.mark.parametrize(("sentence", "body"), GOOD, ids=[sentence for sentence, _ in GOOD])
def test_a_good_server_is_accepted(sentence: str, body: Object) -> None:
    assert parse(body).spec.host, sentence


@pytest.mark.parametrize("bad", BAD, ids=[bad.sentence for bad in BAD])
def test_a_bad_server_is_refused_with_the_field_and_the_remedy(bad: Bad) -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse(bad.body)
    assert refused.value.problems == (FieldProblem(bad.field, bad.message),)


def test_every_rule_of_the_definition_has_a_server_that_breaks_it() -> None:
    """And one whose number is out of each bound; the API server is asked with the same table."""
    broken = [bad.message for bad in BAD]
    rules = {entry["message"] for _, node in PARTS for entry in node.get(VALIDATIONS, [])}
    assert rules <= set(broken)
    for path, node in FIELDS:
        if path.startswith("spec") and node.get("type") == "integer":
            field = path.removeprefix("spec.shares[].")
            bounds = [bad.message for bad in BAD if bad.field.endswith(field.removeprefix("spec"))]
            assert f"must be greater than or equal to {node['minimum']}" in bounds, path
            assert f"must be less than or equal to {node['maximum']}" in bounds, path
