"""The shape of the tree: what a reader may rely on everywhere."""

import ast
import operator
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
FILES = sorted(path for name in LISTED if (path := ROOT / name).is_file())
MODULES = [path for path in FILES if path.suffix == ".py"]
# Written in pieces, so that this file does not hold what it looks for.
FORBIDDEN = ("/wo" + "rk/", "deb.debian" + ".org", "proxy.golang" + ".org", "files.pythonhosted" + ".org")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_source_root_is_no_package_and_the_standard_librarys_operator_stays() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    code = "import operator; assert operator.eq(1, 1); print(operator.__file__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == operator.__file__


def sleeps(tree: ast.AST) -> set[int]:
    """The lines that call time.sleep."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {call.lineno for call in calls if ast.unparse(call.func) == "time.sleep"}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_has_at_most_300_lines_and_its_functions_40(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= 40
    ]
    assert not long


@pytest.mark.parametrize("path", [path for path in MODULES if "tests" in path.parts], ids=named)
def test_a_test_sleeps_only_between_two_looks_at_a_condition(path: Path) -> None:
    tree = ast.parse(path.read_text())
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.While | ast.For)]
    assert sleeps(tree) == {line for loop in loops for line in sleeps(loop)}


def test_no_file_speaks_of_the_machine_it_was_written_on() -> None:
    texts = {named(path): path.read_text(errors="replace") for path in FILES}
    assert not [f"{name}: {word}" for name, text in texts.items() for word in FORBIDDEN if word in text]


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_modules_are_named_by_subject(path: Path) -> None:
    assert not re.fullmatch(r"utils?|helpers?|managers?|commons?|base", path.stem)
