"""The CRD as a document: structural, bounded, described, small, and the same as the models and the catalogue say."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.contract.pools import pool

from pgbouncer_operator import naming
from pgbouncer_operator.api import crd
from pgbouncer_operator.api.conditions import ConditionType, Reason
from pgbouncer_operator.api.connection_pool import parse
from pgbouncer_operator.api.definition import to_yaml
from pgbouncer_operator.api.status import PoolStatus, previous
from pgbouncer_operator.pgbouncer.parameters import CATALOGUE, Audience, Type

Node = dict[str, Any]

CRDS = Path(__file__).parents[2] / "crds"
DOCUMENT = crd.render()
VERSION = DOCUMENT["spec"]["versions"][0]
ROOT: Node = VERSION["schema"]["openAPIV3Schema"]
SPEC: Node = ROOT["properties"]["spec"]
STATUS: Node = ROOT["properties"]["status"]
VALIDATIONS = "x-kubernetes-validations"
# What a structural schema may hold and ours does. Anything else is a surprise of the generator.
ALLOWED = {
    "additionalProperties", "default", "description", "enum", "format", "items", "maxItems", "maxLength",
    "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum", "pattern", "properties",
    "required", "type", "x-kubernetes-preserve-unknown-fields", VALIDATIONS,
    "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys", "x-kubernetes-list-type",
}  # fmt: skip
OPAQUE = {f"spec.pod.affinity.{part}" for part in ("nodeAffinity", "podAffinity", "podAntiAffinity")}


def nodes(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}".removeprefix("."))
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from nodes(node["additionalProperties"], f"{path}{{}}")


PARTS = [*nodes(SPEC, "spec"), *nodes(STATUS, "status")]
FIELDS = [(path, node) for path, node in PARTS if not path.endswith(("[]", "{}"))]


def at(path: str) -> Node:
    return dict(PARTS)[path]


@pytest.mark.parametrize("name", crd.files())
def test_the_committed_files_are_what_the_models_give(name: str) -> None:
    text = (CRDS / name).read_text(encoding="utf-8")
    assert text == crd.files()[name], "run `make generate`"


def test_nothing_else_lies_beside_the_generated_files() -> None:
    assert {path.name for path in CRDS.iterdir()} == set(crd.files())


def test_rendering_twice_gives_the_same_bytes() -> None:
    assert to_yaml(crd.render()) == to_yaml(crd.render(reversed(CATALOGUE)))


def test_the_definition_stays_below_68_kilobytes() -> None:
    assert len(to_yaml(DOCUMENT).encode()) < 68_000


def test_the_text_has_no_yaml_aliases_which_many_tools_refuse() -> None:
    text = to_yaml(DOCUMENT)
    assert not re.search(r"[:-] [&*]id\d+", text)
    assert yaml.safe_load(text) == DOCUMENT


@pytest.mark.parametrize(("path", "node"), PARTS, ids=[path for path, _ in PARTS])
def test_every_part_is_structural(path: str, node: Node) -> None:
    assert set(node) <= ALLOWED, path
    assert ("type" in node) != ("x-kubernetes-int-or-string" in node)
    assert not ("properties" in node and "additionalProperties" in node)
    assert ("x-kubernetes-preserve-unknown-fields" in node) == (path in OPAQUE)
    if node.get("type") == "object" and path not in OPAQUE:
        assert "properties" in node or "additionalProperties" in node
    if node.get("type") == "array":
        assert node["items"].get("type")


@pytest.mark.parametrize(("path", "node"), PARTS, ids=[path for path, _ in PARTS])
def test_every_string_list_and_map_has_an_upper_bound(path: str, node: Node) -> None:
    if "x-kubernetes-int-or-string" in node or (node.get("type") == "string" and "enum" not in node):
        assert "maxLength" in node, path
    if node.get("type") == "array":
        assert "maxItems" in node, path
    if "additionalProperties" in node:
        assert "maxProperties" in node, path


@pytest.mark.parametrize(("path", "node"), PARTS, ids=[path for path, _ in PARTS])
def test_no_string_of_the_spec_takes_a_control_character(path: str, node: Node) -> None:
    if not path.startswith("spec") or "enum" in node or node.get("type", "string") != "string":
        return
    patterns = [node.get("pattern", ""), *re.findall(r'self\.matches\(r"(.*?)"\)', "\n".join(rules(node)))]
    barriers = [re.compile(pattern) for pattern in patterns if pattern]
    assert barriers, path
    for bad in ("a\nb", "a\x00b", "a\x7fb", "a\x85b"):
        assert any(not barrier.search(bad) for barrier in barriers), (path, bad)


def rules(node: Node) -> list[str]:
    return [entry["rule"] for entry in node.get(VALIDATIONS, [])]


@pytest.mark.parametrize(("path", "node"), FIELDS, ids=[path for path, _ in FIELDS])
def test_every_field_is_described_in_sentences(path: str, node: Node) -> None:
    description = node.get("description", "")
    assert len(description) >= 20, path
    assert description.endswith("."), path
    assert "\n" not in description
    assert "  " not in description


SETTINGS_OF_SPEC = [(path, node) for path, node in FIELDS if path.startswith("spec.")]


@pytest.mark.parametrize(("path", "node"), SETTINGS_OF_SPEC, ids=[path for path, _ in SETTINGS_OF_SPEC])
def test_every_field_of_the_spec_says_how_a_change_takes_effect(path: str, node: Node) -> None:
    assert re.search(r"reload|roll|applied at once|Applied at once|takes effect|moves limits", node["description"]), (
        path
    )


@pytest.mark.parametrize(("path", "node"), SETTINGS_OF_SPEC, ids=[path for path, _ in SETTINGS_OF_SPEC])
def test_every_default_is_told_in_the_description(path: str, node: Node) -> None:
    if "default" in node and not isinstance(node["default"], dict):
        assert f"Default: {node['default']}" in node["description"], path


def test_optional_fields_of_the_spec_have_a_default_or_tell_what_happens_without() -> None:
    required = {f"{path}.{name}" for path, node in PARTS for name in node.get("required", [])}
    silent = [
        path
        for path, node in SETTINGS_OF_SPEC
        if path not in required and "default" not in node and "Default:" not in node["description"]
    ]
    # Three sources of a CA: exactly one is given, the others have no default to tell.
    assert silent == [
        "spec.backend.tls.ca.secretKeyRef",
        "spec.backend.tls.ca.configMapKeyRef",
        "spec.backend.tls.ca.system",
    ]


def test_status_has_no_defaults_because_absent_means_unknown_but_says_so_before_an_operator_does() -> None:
    assert [path for path, node in nodes(STATUS) if "default" in node] == [""]
    (ready,) = PoolStatus.model_validate(STATUS["default"]).conditions or ()
    assert (ready.type, ready.status, ready.reason) == ("Ready", "Unknown", "Pending")
    assert previous({"status": STATUS["default"]}) == PoolStatus(), "nobody has told anything yet"


def fill(node: Node, value: Any) -> Any:
    """Apply defaults as the API server does: a missing field gets its default, then the fields inside get theirs."""
    if isinstance(value, dict) and "properties" in node:
        filled = dict(value)
        for name, child in node["properties"].items():
            if name not in filled and "default" in child:
                filled[name] = child["default"]
            if name in filled:
                filled[name] = fill(child, filled[name])
        return filled
    return [fill(node["items"], item) for item in value] if isinstance(value, list) else value


def test_the_server_and_the_models_agree_on_every_default() -> None:
    defaulted = {**pool(), "spec": fill(SPEC, pool()["spec"])}
    assert without_lists(defaulted["spec"]) == without_lists(parse(pool()).spec.wire())
    assert parse(defaulted) == parse(pool())


def without_lists(value: Any) -> Any:
    """The value without lists: the API server adds nothing to their items."""
    if not isinstance(value, dict):
        return value
    return {key: without_lists(each) for key, each in value.items() if not isinstance(each, list)}


@pytest.mark.parametrize(("path", "key"), [
    ("spec.databases", "name"), ("spec.users", "name"), ("spec.connectionSecrets", "name"),
    ("spec.pod.imagePullSecrets", "name"), ("status.conditions", "type"), ("status.advice", "reason"),
])  # fmt: skip
def test_named_lists_merge_by_name(path: str, key: str) -> None:
    node = at(path)
    assert node["x-kubernetes-list-type"] == "map"
    assert node["x-kubernetes-list-map-keys"] == [key]
    assert key in node["items"]["required"]


ALL_RULES = [(path, entry) for path, node in [("", ROOT), *PARTS] for entry in node.get(VALIDATIONS, [])]


@pytest.mark.parametrize(("path", "entry"), ALL_RULES)
def test_no_rule_mentions_replicas_or_an_autoscaler_would_be_refused(path: str, entry: Mapping[str, str]) -> None:
    assert "replicas" not in entry["rule"] + entry.get("messageExpression", ""), path


@pytest.mark.parametrize(("path", "entry"), ALL_RULES)
def test_every_rule_says_what_to_do(path: str, entry: Mapping[str, str]) -> None:
    (said,) = entry.keys() & {"message", "messageExpression"}
    assert re.fullmatch(".{20,}", entry[said]), path
    assert "\n" not in entry["rule"]


@pytest.mark.parametrize(("path", "entry"), ALL_RULES)
def test_a_rules_field_path_is_a_field(path: str, entry: Mapping[str, str]) -> None:
    node = at(path) if path else ROOT
    for name in filter(None, entry.get("fieldPath", "").split(".")):
        node = node["properties"][name]
    assert node["type"]


@pytest.mark.parametrize(("path", "node"), PARTS, ids=[path for path, _ in PARTS])
def test_a_pattern_is_anchored_at_both_ends(path: str, node: Node) -> None:
    for pattern in [node.get("pattern", "^$"), *re.findall(r'matches\(r?"(.*?)"\)', "\n".join(rules(node)))]:
        assert pattern.startswith("^"), path
        assert pattern.endswith("$"), path
        re.compile(pattern)


def test_the_names_are_those_of_the_project() -> None:
    assert DOCUMENT["metadata"]["name"] == "connectionpools.pgbouncer-operator.io"
    assert DOCUMENT["metadata"]["labels"]["servicebinding.io/provisioned-service"] == "true"
    names = DOCUMENT["spec"]["names"]
    assert (names["kind"], names["plural"]) == (naming.KIND, naming.PLURAL)
    assert names["shortNames"] == ["cpool"]
    assert names["categories"] == ["pgbouncer-operator"]
    assert DOCUMENT["spec"]["scope"] == "Namespaced"
    assert VERSION["name"] == "v1alpha1"


def test_the_scale_subresource_points_at_fields_that_exist() -> None:
    scale = VERSION["subresources"]["scale"]
    assert at(scale["specReplicasPath"].removeprefix("."))["type"] == "integer"
    assert at(scale["statusReplicasPath"].removeprefix("."))["type"] == "integer"
    assert at(scale["labelSelectorPath"].removeprefix("."))["type"] == "string"
    assert VERSION["subresources"]["status"] == {}


def test_kubectl_get_answers_in_one_line() -> None:
    columns = VERSION["additionalPrinterColumns"]
    narrow = [column["name"].upper() for column in columns if "priority" not in column]
    assert narrow == ["READY", "REASON", "PODS", "CONNECTIONS", "CLIENTS", "WAITING", "AGE"]
    wide = [column["name"].upper() for column in columns if column.get("priority") == 1]
    assert wide == ["MODE", "ENDPOINT", "IMAGE"]


@pytest.mark.parametrize("column", VERSION["additionalPrinterColumns"], ids=lambda column: column["name"])
def test_every_column_shows_a_field_that_exists(column: Mapping[str, str]) -> None:
    path = column["jsonPath"].removeprefix(".")
    if "conditions" in path:
        assert path.startswith('status.conditions[?(@.type=="Ready")].')
        assert path.rpartition(".")[2] in at("status.conditions[]")["properties"]
    elif not path.startswith("metadata."):
        assert at(path)["type"] == column["type"]


def test_status_takes_words_of_a_newer_operator_but_no_sentences() -> None:
    for field, words in (("type", ConditionType), ("reason", Reason)):
        node = at(f"status.conditions[].{field}")
        assert "enum" not in node
        for word in (*(word.value for word in words), "OfTheFuture"):
            assert re.search(node["pattern"], word)
            assert len(word) <= node["maxLength"]
        assert not re.search(node["pattern"], "two words")


TYPED = [row for row in CATALOGUE if row.audience is Audience.FIELD]


@pytest.mark.parametrize("row", TYPED, ids=[row.name for row in TYPED])
def test_a_typed_field_has_the_range_and_default_of_its_setting(row: Any) -> None:
    node = at(f"spec.{row.field}")
    assert f"PgBouncer's {row.name}" in node["description"]
    assert str(node["default"]) == (row.ours or row.default)
    if row.type in {Type.INT, Type.TIME}:
        assert (node["minimum"], node["maximum"]) == (row.minimum, row.maximum)
    else:
        assert tuple(node["enum"]) == row.choices


def test_the_first_rule_lists_the_settings_that_users_may_set_and_its_message_all_others() -> None:
    (known, *_) = at("spec.parameters")[VALIDATIONS]
    for row in CATALOGUE:
        assert (f'"{row.name}"' in known["rule"]) == (row.audience is Audience.USER)
        assert f'"{row.name}"' in known["messageExpression"]
