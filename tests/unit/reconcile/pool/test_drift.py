from typing import Any

import pytest

from pgbouncer_operator.reconcile.pool.drift import drift

CASES: list[tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    ("equal", {"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [1, 2]}}, ()),
    ("defaults of the API server are its own", {"a": 1}, {"a": 1, "default": True}, ()),
    ("another value", {"a": {"b": 1}}, {"a": {"b": 2}}, ("a.b",)),
    ("a missing field", {"a": {"b": 1}}, {"a": {}}, ("a.b",)),
    ("a missing object", {"a": {"b": 1}}, {}, ("a",)),
    ("an empty object equals an absent one", {"a": {}}, {}, ()),
    ("a value where an object belongs", {"a": {"b": 1}}, {"a": "b"}, ("a",)),
    ("a list of another length", {"a": [1]}, {"a": [1, 2]}, ("a",)),
    ("an absent list equals an empty one", {"a": []}, {}, ()),
    ("named items match by name, in any order", {"a": [{"name": "x", "v": 1}]},
     {"a": [{"name": "y"}, {"name": "x", "v": 1, "d": 0}]}, ()),
    ("a named item that changed", {"a": [{"name": "x", "v": 1}]}, {"a": [{"name": "x", "v": 2}]}, ("a[x].v",)),
    ("a named item that is gone", {"a": [{"name": "x", "v": 1}]}, {"a": []}, ("a[x]",)),
    ("unnamed items match by place", {"a": [{"p": 1}, {"p": 2}]}, {"a": [{"p": 1}, {"p": 3}]}, ("a[1].p",)),
    ("several, sorted", {"b": 1, "a": 1}, {}, ("a", "b")),
]  # fmt: skip


@pytest.mark.parametrize(("desired", "live", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_drift(desired: dict[str, Any], live: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert drift(desired, live) == expected
