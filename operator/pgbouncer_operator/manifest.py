"""Reads a manifest as kubectl does: YAML documents and lists, with kubectl's own reading of numbers and words. Pure.

PyYAML has dates and numbers with colons, which kubectl does not have. kubectl turns YAML into JSON first, by
https://pkg.go.dev/sigs.k8s.io/yaml
"""

import math
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from pgbouncer_operator import naming

Object = dict[str, Any]
VALUES_MAX = 200_000  # of one manifest; aliases can make a small text stand for any number
DEPTH_MAX = 100
_LISTS = {"List", f"{naming.KIND}List", f"{naming.SERVER_KIND}List"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """The objects of a manifest."""

    objects: tuple[Object, ...]
    """Every object with a kind, as JSON values. The items of lists stand for themselves."""
    problems: tuple[str, ...]
    """One sentence for each document that is no object, and for text that is no YAML."""


class NotJson(Exception):
    """A value that JSON cannot hold. The message says which and what to do."""


def read(text: str | bytes) -> Manifest:
    """The objects of a manifest, in their order. What cannot be read is a problem, and the rest is read."""
    objects: list[Object] = []
    problems: list[str] = []
    budget = [VALUES_MAX]
    for number, (document, problem) in enumerate(_documents(text), 1):
        place = f"document {number}"
        if problem:
            problems.append(f"{place} {problem}")
            continue
        try:
            _collect(_json(document, budget, DEPTH_MAX), place, objects, problems)
        except NotJson as error:
            problems.append(f"{place} {error}")
    return Manifest(tuple(objects), tuple(problems))


def _documents(text: str | bytes) -> Iterator[tuple[object, str]]:
    """Each document, or why it cannot be read, which ends the reading."""
    try:
        for document in yaml.load_all(text, _Loader):
            yield document, ""
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        yield None, f"is not YAML:{line} {error.problem or error.context}"
    except yaml.YAMLError as error:
        yield None, f"is not YAML: {' '.join(str(error).split())}"
    except NotJson as error:
        yield None, str(error)
    except RecursionError:
        yield None, "is nested too deeply: flatten it"
    except (ValueError, OverflowError) as error:
        yield None, f"has a value that cannot be read: {error}"


def _collect(document: object, place: str, objects: list[Object], problems: list[str]) -> None:
    """Add the objects of one document. An empty document has none."""
    if document is None:
        return
    if not isinstance(document, dict):
        problems.append(f"{place} is not an object: give it apiVersion, kind, metadata and spec")
    elif not isinstance(document.get("kind"), str) or not document["kind"]:
        problems.append(f"{place} has no kind: add kind and apiVersion")
    elif document["kind"] in _LISTS:
        items = document.get("items")
        if not isinstance(items, list):
            problems.append(f"{place} has no items: a {document['kind']} needs a list of objects")
            return
        for index, item in enumerate(items):
            _collect({} if item is None else item, f"{place}, items[{index}]", objects, problems)
    else:
        objects.append(document)


def _json(value: object, budget: list[int], depth: int) -> Any:
    """The value as JSON has it: keys are strings, and a number without a fraction is an integer."""
    budget[0] -= 1
    if budget[0] < 0 or depth < 0:
        raise NotJson("holds too many values, or is nested too deeply: split it, or write aliases out")
    match value:
        case Mapping():
            return {_key(key): _json(each, budget, depth - 1) for key, each in value.items()}
        case list() | tuple():
            return [_json(each, budget, depth - 1) for each in value]
        case set():
            return {_key(each): None for each in value}
        case bytes():
            return value.decode(errors="replace")
        case float() if not math.isfinite(value):
            raise NotJson("holds infinity or not-a-number, which JSON does not have: write a number")
        case float() if value.is_integer() and abs(value) < 2**63:
            return int(value)
    return value


def _key(key: object) -> str:
    match key:
        case str():
            return key
        case bool():
            return "true" if key else "false"
        case None:
            return "null"
        case int() | float():
            return f"{key:g}" if isinstance(key, float) else str(key)
    raise NotJson("has a key that is a list or an object: write a word")


class _Loader(yaml.SafeLoader):
    """Plain scalars as kubectl reads them."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own name

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping with JSON's keys. Raises NotJson."""
        self.flatten_mapping(node)
        return {_key(self.construct_object(key, True)): self.construct_object(each, deep) for key, each in node.value}


def _integer(_: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = node.value.replace("_", "").lower()
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    for prefix, base in (("0x", 16), ("0o", 8), ("0b", 2), ("0", 8)):
        if digits.startswith(prefix) and digits != "0":
            return sign * int(digits.removeprefix(prefix), base)
    return sign * int(digits)


def _float(_: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    text = node.value.replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _any(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> object:
    """What a tag that kubectl does not know stands before."""
    if isinstance(node, yaml.ScalarNode):
        return node.value
    return loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else _items(loader, node)


def _items(loader: yaml.SafeLoader, node: yaml.Node) -> list[object]:
    assert isinstance(node, yaml.SequenceNode)
    return loader.construct_sequence(node, deep=True)


_WORDS = "|".join(f"{word}|{word.capitalize()}|{word.upper()}" for word in ("yes", "no", "true", "false", "on", "off"))
for _tag, _pattern, _first in (
    ("bool", f"y|Y|n|N|{_WORDS}", "yYnNtTfFoO"),
    ("int", "[-+]?(0[xX][0-9a-fA-F_]+|0[oO]?[0-7_]+|0[bB][01_]+|0|[1-9][0-9_]*)", "-+0123456789"),
    ("float", r"[-+]?([.][0-9_]+|[0-9][0-9_]*([.][0-9_]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?[.](inf|Inf|INF)|[.](nan|NaN|NAN)", "-+."),
    ("null", "~|null|Null|NULL|", "~nN\0"),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile("^$")))
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)
_Loader.add_constructor("tag:yaml.org,2002:bool", lambda _, node: node.value.lower() in {"y", "yes", "true", "on"})
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)
_Loader.add_multi_constructor("", _any)
