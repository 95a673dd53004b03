"""Every reason a condition may carry is set by the operator, and tells its reader what to do."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pgbouncer_operator
from pgbouncer_operator.api.conditions import REMEDIES, Condition, Reason
from pgbouncer_operator.protocol.reasons import BackendReason

PACKAGE = Path(pgbouncer_operator.__path__[0])


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every module of the package outside api/."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if PACKAGE / "api" not in path.parents:
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def values(tree: ast.Module, name: str) -> set[str]:
    """Members of this class that the module uses as values: one that is compared, or an item of a set, is not set."""
    only_read = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Compare, ast.Set))
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute)
    }
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
        and id(node) not in only_read
    }


def test_every_reason_is_set_somewhere_outside_api() -> None:
    named = {each for _, tree in modules() for each in values(tree, "Reason")}
    of_agents = {each.value for each in BackendReason}  # which `checks` takes as they are
    unset = [each.name for each in Reason if each.name not in named and each.value not in of_agents]
    assert not unset, f"no code sets these reasons: {unset}"


def test_every_reason_has_a_remedy_of_one_sentence_or_two() -> None:
    assert set(REMEDIES) == set(Reason)
    for reason, remedy in REMEDIES.items():
        assert remedy[0].isupper(), f"{reason}: {remedy}"
        assert remedy.endswith("."), f"{reason}: {remedy}"


def test_conditions_of_a_pool_are_made_in_one_module() -> None:
    makers = {
        path.relative_to(PACKAGE).as_posix()
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == Condition.__name__
    }
    of_pools = {each for each in makers if not each.startswith("reconcile/server/")}
    assert of_pools == {"reconcile/status/checks.py"}
