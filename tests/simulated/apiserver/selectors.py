"""Label and field selectors, as far as anybody here uses them."""

import re
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
Selector = Callable[[Object], bool]

_SET = re.compile(r"\s*(\S+)\s+(in|notin)\s+\(([^)]*)\)\s*")


def parse(labels: str, fields: str) -> Selector:
    """A predicate of an object. Raises ValueError for what is not understood."""
    tests = [_label(term) for term in re.split(r",(?![^(]*\))", labels) if term]
    tests += [_field(term) for term in fields.split(",") if term]
    return lambda body: all(test(body) for test in tests)


def _label(term: str) -> Selector:
    if match := _SET.fullmatch(term):
        name, operator, values = match.groups()
        wanted = {value.strip() for value in values.split(",")}
        return lambda body: (_labels(body).get(name) in wanted) == (operator == "in")
    if "!=" in term:
        name, value = term.split("!=")
        return lambda body: _labels(body).get(name) != value
    if "=" in term:
        name, value = re.split("==?", term, maxsplit=1)
        return lambda body: _labels(body).get(name) == value
    if term.startswith("!"):
        return lambda body: term[1:] not in _labels(body)
    return lambda body: term in _labels(body)


def _field(term: str) -> Selector:
    match = re.fullmatch(r"([\w.]+)(!=|==?)(.*)", term)
    if match is None:
        raise ValueError(f"not a field selector: {term}")
    path, operator, value = match.groups()
    return lambda body: (_at(body, path) == value) == (operator != "!=")


def _labels(body: Object) -> dict[str, str]:
    return body["metadata"].get("labels") or {}


def _at(body: Any, path: str) -> str:
    for step in path.split("."):
        body = body.get(step, "") if isinstance(body, dict) else ""
    return str(body)
