"""Values, their schema and their documentation are three views of one thing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests import generate_chart
from tests.contract.chart import CHART

from pgbouncer_operator import naming

ROOT = Path(__file__).parents[2]
TEXT = (CHART / "values.yaml").read_text(encoding="utf-8")
VALUES: dict[str, Any] = yaml.safe_load(TEXT)
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def leaves(tree: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in tree.items():
        here = f"{path}.{key}".removeprefix(".")
        if isinstance(value, dict) and value:
            yield from leaves(value, here)
        else:
            yield here


def described(node: dict[str, Any], path: str = "") -> Iterator[str]:
    if "$ref" in node:
        node = SCHEMA["definitions"][node["$ref"].rpartition("/")[2]]
    if not node.get("properties"):
        yield path
    for key, child in node.get("properties", {}).items():
        yield from described(child, f"{path}.{key}".removeprefix("."))


def objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "properties" in node and node.get("type") == "object":
            yield node
        for child in node.values():
            yield from objects(child)


def test_the_schema_is_one_and_the_defaults_obey_it() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(VALUES)


def test_the_schema_knows_every_value_and_no_other() -> None:
    documented = {each.path for each in generate_chart.values(TEXT)}

    assert set(described(SCHEMA)) == documented


def test_no_object_of_the_schema_takes_an_unknown_key() -> None:
    shared = SCHEMA["properties"]["global"]  # with a parent chart's values; templates/_names.tpl refuses the others

    assert all(each.get("additionalProperties") is False for each in objects(SCHEMA) if each is not shared)


def test_the_readme_has_every_value_with_its_default_and_what_it_does() -> None:
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("| `")]
    documented = [row.split("`")[1] for row in rows]

    for leaf in leaves(VALUES):
        assert any(leaf == path or leaf.startswith(f"{path}.") for path in documented), f"README lacks {leaf}"
    assert len(documented) == len(set(documented))
    assert all(row.endswith(". |") for row in rows), "a meaning is a sentence"


@pytest.mark.parametrize(
    ("text", "path"), [("a: 1\n", "a"), ("# Yes.\na: 1\nb:\n  c: 2\n", "b.c"), ("# Far away.\n\na: {}\n", "a")]
)
def test_a_value_without_a_comment_is_refused_by_name(text: str, path: str) -> None:
    with pytest.raises(ValueError, match=rf"values.yaml: {path} has no comment"):
        generate_chart.values(text)


def test_a_comment_above_an_object_documents_it_as_a_whole() -> None:
    text = "# Two\n# lines.\na:\n  b: 1\n  c: {}\n# Next.\nd: ''\n"

    assert generate_chart.values(text) == (
        generate_chart.Value("a", "{b: 1, c: {}}", "Two lines."),
        generate_chart.Value("d", '""', "Next."),
    )


def test_the_charts_page_names_the_kinds_it_brings() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    kinds = yaml.safe_load(chart["annotations"]["artifacthub.io/crds"])

    assert [(each["kind"], each["version"], each["name"]) for each in kinds] == [
        (naming.KIND, naming.VERSION, f"{naming.PLURAL}.{naming.GROUP}"),
        (naming.SERVER_KIND, naming.VERSION, f"{naming.SERVER_PLURAL}.{naming.GROUP}"),
    ]


def test_the_examples_on_the_charts_page_are_objects_that_the_operator_accepts() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    example, server = yaml.safe_load(chart["annotations"]["artifacthub.io/crdsExamples"])

    for each, kind in ((example, naming.KIND), (server, naming.SERVER_KIND)):
        assert (each["apiVersion"], each["kind"]) == (f"{naming.GROUP}/{naming.VERSION}", kind)
        definition = yaml.safe_load((ROOT / "crds" / f"{kind.lower()}s.{naming.GROUP}.yaml").read_text())
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        jsonschema.Draft7Validator(schema).validate(each["spec"])
        assert set(each["spec"]) <= set(schema["properties"])
