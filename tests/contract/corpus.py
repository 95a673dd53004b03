"""Several hundred good and bad objects, made systematically: every field of every good object, with every wrong value.

The offline commands judge them in `test_corpus.py`, a real API server in `tests/controlplane`: both give one verdict.
"""

# ruff: noqa: E501  one row a line, or nobody reads the tables

import copy
import json
from collections.abc import Iterator
from typing import Any

from tests.contract import pools, servers, shapes

from pgbouncer_operator import naming

Object = dict[str, Any]
# Plain words of YAML, and what kubectl makes of them: JSON values.
PLAIN: tuple[tuple[str, Any], ...] = (
    *((word, True) for word in ("y", "Y", "yes", "Yes", "on", "ON", "true", "TRUE")),
    *((word, False) for word in ("n", "N", "no", "NO", "off", "Off", "false", "False")),
    *((word, None) for word in ("~", "null", "Null", "NULL", "")),
    *(
        (word, word)
        for word in (
            "yEs",
            "nULL",
            "1:30",
            "2026-01-01",
            "2001-12-14t21:59:43.10-05:00",
            "=",
            "0x",
            "1e",
            ".",
            "5m",
            "1.2.3",
            "_1",
            "e3",
        )
    ),
    ("1_000", 1000),
    ("0o10", 8),
    ("010", 8),
    ("0777", 511),
    ("0x1F", 31),
    ("0b11", 3),
    ("+5", 5),
    ("-5", -5),
    ("-0", 0),
    ("00", 0),
    ("08", 8),
    ("5.", 5),
    ("5.0", 5),
    ("1e3", 1000),
    ("1E3", 1000),
    ("12e03", 12000),
    (".5", 0.5),
    ("-1.5", -1.5),
    ("1.0e2", 100),
    ("0.0", 0),
    ("1__0", 10),
    ("!!str 5", "5"),
    ("!foo x", "x"),
    ("!!binary aGVsbG8=", "hello"),
    ("{1: a, true: b, 1.5: c, x: d}", {"1": "a", "true": "b", "1.5": "c", "x": "d"}),
    ("{<<: {b: c}, a: d}", {"a": "d", "b": "c"}),
    ("{a: 1, a: 2}", {"a": 2}),
    ("!!set {a, b}", {"a": None, "b": None}),
    ("[1, !!str 1]", [1, "1"]),
)
UNREADABLE = (".inf", "-.inf", ".nan", "[", "'", "{? [a] : b}", "*unknown", "&a [*a]")
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 10**10, 1.5, "", "x", "A b", "a\nb", "ü", "5", "a" * 400, [], [None], ["x"], {}, {"x": "y"},
)  # fmt: skip
GONE = object()
# What stands below is in the definition without its fields: `shapes.UNSEEN` holds what only the operator refuses there.
PLACEMENT = ("spec", "pod", "affinity")
METADATA: tuple[Object, ...] = (
    {}, {"name": ""}, {"name": "A"}, {"name": "a.b"}, {"name": "a" * 254}, {"name": 5}, {"name": None}, {"name": "a_b"},
    {"name": "a", "labels": {"a": "b"}}, {"name": "a", "labels": {"a": 1}}, {"name": "a", "labels": {"a": None}},
    {"name": "a", "labels": {"a b": "c"}}, {"name": "a", "labels": {"A/b": "c"}}, {"name": "a", "labels": {"a/": "c"}},
    {"name": "a", "labels": {"a": "-"}}, {"name": "a", "labels": {"a": "b" * 64}}, {"name": "a", "labels": {"x" * 64: "b"}},
    {"name": "a", "labels": []}, {"name": "a", "labels": {"a/b/c": "d"}}, {"name": "a", "annotations": {"A/b": "c d"}},
    {"name": "a", "annotations": {"a": 1}}, {"name": "a", "annotations": {"a b": "c"}}, {"name": "a", "annotations": None},
    {"name": "a", "spec": {}}, {"name": "a", "label": {"a": "b"}}, {"name": "a", "uid": 5}, {"name": "a", "generation": 5},
    {"name": "a", "finalizers": ["a.b/c"]}, {"name": "a", "finalizers": "a"}, {"name": "a", "clusterName": "b"},
)  # fmt: skip


def corpus() -> tuple[Object, ...]:
    """Every object once, in a stable order. Every field of a kind is changed in one object that has it."""
    found: dict[str, Object] = {}
    changed: set[str] = set()
    for body in _tables():
        _add(found, body)
    for body in _good():
        for path in _paths(body["spec"], ("spec",)):
            name = f"{body['kind']}{[each if isinstance(each, str) else 0 for each in path]}"
            if name not in changed:
                changed.add(name)
                for value in (*VALUES, GONE):
                    _add(found, _with(body, path, value))
    for kind in (pools.pool(), servers.server()):
        for metadata in METADATA:
            _add(found, {**kind, "metadata": metadata})
        for extra in ({"Spec": {}}, {"status": {"replicas": "x"}}, {"status": {"foo": 1}}, {"status": None}):
            _add(found, {**kind, **extra})
    return tuple(found.values())


def _tables() -> Iterator[Object]:
    yield from (body for _, body in (*pools.GOOD, *shapes.GOOD, *servers.GOOD))
    yield from (bad.body for bad in (*pools.BAD, *shapes.BAD, *servers.BAD))


def _good() -> Iterator[Object]:
    """The good objects, those with most fields first: their fields are changed beside all others."""
    bodies = [body for _, body in (*pools.GOOD, *shapes.GOOD, *servers.GOOD)]
    yield from sorted(bodies, key=lambda body: -len(json.dumps(body)))


def _paths(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """The path of every value, and of a field that does not exist in each object."""
    if path[:3] == PLACEMENT and len(path) > 3:
        return
    yield path
    if isinstance(value, dict):
        yield (*path, "someday")
        for key, child in value.items():
            yield from _paths(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _paths(child, (*path, index))


def _with(body: Object, path: tuple[str | int, ...], value: Any) -> Object:
    changed = copy.deepcopy(body)
    *parents, last = path
    node: Any = changed
    for each in parents:
        node = node[each]
    if value is not GONE:
        node[last] = copy.deepcopy(value)
    elif isinstance(node, list) or last in node:
        del node[last]
    return changed


def _add(found: dict[str, Object], body: Object) -> None:
    assert body["apiVersion"] == naming.API_VERSION
    found.setdefault(json.dumps(body, sort_keys=True), body)
