"""Every document of the protocol has a round trip: a property that writes it and reads it back."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pgbouncer_operator.protocol

MODULES = sorted(Path(pgbouncer_operator.protocol.__file__).parent.glob("*.py"))
PROPERTIES = Path(__file__).parents[1] / "property/test_documents.py"
SHARED = {"__init__", "document", "reasons", "validity"}  # no documents of their own
DOCUMENTS = [path.stem for path in MODULES if path.stem not in SHARED]


def readers(source: str, module: str) -> set[str]:
    """How a test calls a module's readers: `Class.from_json`, or `module.function` where the module has a `to_json`."""
    body = ast.parse(source).body
    found = {
        f"{each.name}.from_json"
        for each in body
        if isinstance(each, ast.ClassDef)
        and any(isinstance(method, ast.FunctionDef) and method.name == "from_json" for method in each.body)
    }
    functions = {each.name for each in body if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")}
    return found | ({f"{module}.{name}" for name in functions - {"to_json"}} if "to_json" in functions else set())


def round_trips(source: str) -> Iterator[set[str]]:
    """What each property calls that writes a document."""
    for each in ast.parse(source).body:
        if isinstance(each, ast.FunctionDef) and any("given" in ast.unparse(line) for line in each.decorator_list):
            calls = {ast.unparse(node.func) for node in ast.walk(each) if isinstance(node, ast.Call)}
            if any(call.endswith("to_json") for call in calls):
                yield calls


def without_a_round_trip(source: str, module: str, properties: str) -> bool:
    return not any(readers(source, module) & calls for calls in round_trips(properties))


@pytest.mark.parametrize("module", DOCUMENTS)
def test_every_document_is_written_and_read_back_by_a_property(module: str) -> None:
    source = next(path for path in MODULES if path.stem == module).read_text(encoding="utf-8")
    assert readers(source, module), f"protocol/{module}.py has no reader"
    assert not without_a_round_trip(source, module, PROPERTIES.read_text(encoding="utf-8")), (
        f"no property in {PROPERTIES.name} writes and reads back the document of protocol/{module}.py: add one"
    )


def test_a_document_that_is_only_written_is_noticed() -> None:
    source = "def to_json(until): ...\ndef paused_until(text): ...\n"
    written = "@given(COUNT)\ndef test_it(until):\n    assert traffic.to_json(until)\n"
    both = "@given(COUNT)\ndef test_it(until):\n    assert traffic.paused_until(traffic.to_json(until)) == until\n"
    assert without_a_round_trip(source, "traffic", written)
    assert not without_a_round_trip(source, "traffic", both)
