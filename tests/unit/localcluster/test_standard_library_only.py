"""`make cluster` runs before there is any virtual environment."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import tests.localcluster

PACKAGE = Path(tests.localcluster.__file__).parent
MODULES = sorted(
    file for file in PACKAGE.glob("*.py") if file.name != "fixture.py" and not file.name.startswith("test_")
)


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_a_module_imports_nothing_that_has_to_be_installed(file: Path) -> None:
    foreign = {
        name
        for name in imported(file)
        if name.split(".")[0] not in sys.stdlib_module_names and not f"{name}.".startswith("tests.localcluster.")
    }

    assert foreign == set()


def test_an_older_python_is_refused_with_a_sentence() -> None:
    """No older one is here to be asked, so this one says that it is."""
    older = "import sys; sys.version_info = (3, 9, 2, 'final', 0); import tests.localcluster"
    done = subprocess.run([sys.executable, "-c", older], capture_output=True, text=True, cwd=PACKAGE.parents[1])

    assert done.returncode == 1
    assert done.stderr == "Python 3.11 or newer is needed, and this is 3.9: make PYTHON=python3.11\n"
    ast.parse((PACKAGE / "__init__.py").read_text(), feature_version=(3, 7))
