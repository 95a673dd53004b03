"""Every field of a spec is read by code outside `api/`: a field that only has a model is half a change.

A read is an attribute, or the field's name as a key: in `.get("name")`, in `[...]`, or as a value of a table.
Names are compared, not types: a field whose name another class has too counts as read where the other one is read.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import pgbouncer_operator
from pgbouncer_operator.api import affinity
from pgbouncer_operator.api.model import Model
from pgbouncer_operator.api.pod import Resources, SecurityContext, Toleration, TopologySpread
from pgbouncer_operator.api.postgres_server import ServerSpec
from pgbouncer_operator.api.spec import PoolSpec

PACKAGE = Path(pgbouncer_operator.__file__).parent
PLACEMENT = {each for each in vars(affinity).values() if isinstance(each, type) and issubclass(each, Model)}
# The pod gets them whole, in Kubernetes' own names.
COPIED = {Resources, SecurityContext, Toleration, TopologySpread} | PLACEMENT
SPECS: dict[str, type[Model]] = {"ConnectionPool": PoolSpec, "PostgresServer": ServerSpec}


def models_in(annotation: Any) -> Iterator[type[Model]]:
    """The models that a field's type names, also inside Annotated, a union or a tuple."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def fields(model: type[Model], path: str) -> Iterator[tuple[str, type[Model], str]]:
    """Every field below a model: its path as users write it, the model that declares it, and its Python name."""
    for name, field in model.model_fields.items():
        here = f"{path}.{field.alias or name}"
        yield here, model, name
        for inner in models_in(field.annotation):
            yield from fields(inner, here)


def attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


def keys(tree: ast.AST) -> set[str]:
    """Strings that look something up, and the values of tables."""
    found: list[ast.expr | None] = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="get"), args=[key, *_]) | ast.Subscript(slice=key):
                found.append(key)
            case ast.Dict(values=values):
                found.extend(values)
    return {each.value for each in found if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def outside(package: Path = PACKAGE) -> set[str]:
    """The names that modules outside `api/` read."""
    trees = [
        ast.parse(path.read_text(encoding="utf-8")) for path in package.rglob("*.py") if path.parent != package / "api"
    ]
    return {name for tree in trees for name in attributes(tree) | keys(tree)}


def through(names: Iterable[str], model: type[Model], package: Path = PACKAGE) -> set[str]:
    """`names`, and what the model's own properties and methods read where one of `names` calls them."""
    found = set(names)
    source = package / Path(*model.__module__.split(".")[1:]).with_suffix(".py")
    (body,) = (
        node
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == model.__name__
    )
    methods = {each.name: attributes(each) for each in body.body if isinstance(each, ast.FunctionDef)}
    while more := {name for method in methods.keys() & found for name in methods[method]} - found:
        found |= more
    return found


OUTSIDE = outside()


def is_read(model: type[Model], name: str) -> bool:
    return model in COPIED or bool({name, model.model_fields[name].alias} & through(OUTSIDE, model))


@pytest.mark.parametrize("kind", SPECS)
def test_every_field_of_a_spec_is_read_outside_the_api(kind: str) -> None:
    unread = sorted({path for path, model, name in fields(SPECS[kind], "spec") if not is_read(model, name)})
    assert not unread, f"{kind}: nothing outside api/ reads {', '.join(unread)}: make the field do something"


def test_a_field_that_only_has_a_model_is_noticed() -> None:
    """The seeded fault: the spec with one field more."""

    class Half(PoolSpec):
        colour_of_the_pool: str = "blue"

    assert ("spec.colourOfThePool", Half, "colour_of_the_pool") in set(fields(Half, "spec"))
    assert not {"colour_of_the_pool", "colourOfThePool"} & OUTSIDE


def test_fields_of_lists_and_of_what_may_be_absent_are_found() -> None:
    paths = {path for path, _, _ in fields(PoolSpec, "spec")}
    assert {"spec.databases.serverConnections.max", "spec.clients.tls.secretName", "spec.pod.resources"} <= paths
