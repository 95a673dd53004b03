"""What a reader may rely on: small folders, one class for a name, each wide field documented, plain words."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "operator" / "pgbouncer_operator"
RECONCILE = PACKAGE / "reconcile"
FOLDERS = sorted({path.parent for path in RECONCILE.rglob("*.py")})
MODULES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
MOST_MODULES = 12  # of one folder of reconcile/
WIDEST = 10
# Words that a reader has to read twice.
WORDS = re.compile(r"\b(doubtless|anew|reckon(s|ed)?|be it|in vain|who knows what)\b", re.IGNORECASE)
READ = [
    *sorted(PACKAGE.rglob("*.py")),
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "operator").rglob("*.md")),
    *(path for path in sorted((ROOT / "charts").rglob("*")) if path.is_file()),
]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def classes() -> list[tuple[Path, ast.ClassDef]]:
    return [(path, node) for path, tree in MODULES.items() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def is_dataclass(node: ast.ClassDef) -> bool:
    return any(
        ast.unparse(each).partition("(")[0] in {"dataclass", "dataclasses.dataclass"} for each in node.decorator_list
    )


def fields(node: ast.ClassDef) -> list[str]:
    return [
        each.target.id for each in node.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    ]


def undocumented(node: ast.ClassDef) -> list[str]:
    """The fields that have no docstring of their own below them."""
    found = []
    for each, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            text = below.value if isinstance(below, ast.Expr) else None
            if not (isinstance(text, ast.Constant) and isinstance(text.value, str) and text.value.strip()):
                found.append(each.target.id)
    return found


def widest() -> list[tuple[Path, ast.ClassDef]]:
    found = [(path, node) for path, node in classes() if is_dataclass(node)]
    return sorted(found, key=lambda each: (-len(fields(each[1])), named(each[0]), each[1].name))[:WIDEST]


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_a_folder_of_reconcile_holds_few_modules(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= MOST_MODULES


def test_a_class_name_stands_for_one_class() -> None:
    places = defaultdict(list)
    for path, node in classes():
        places[node.name].append(named(path))
    assert not {name: where for name, where in places.items() if len(where) > 1}


def test_the_widest_dataclasses_document_each_field_below_it() -> None:
    assert not {f"{named(path)}: {node.name}": gaps for path, node in widest() if (gaps := undocumented(node))}


def test_the_widest_dataclasses_are_found() -> None:
    sizes = [len(fields(node)) for _, node in widest()]
    assert "Observation" in {node.name for _, node in widest()}
    assert len(sizes) == WIDEST
    assert min(sizes) > 8


def test_a_field_without_a_docstring_is_noticed() -> None:
    (node,) = ast.parse(
        '@dataclass\nclass Pair:\n    """Two."""\n    one: int\n    """Seconds."""\n    two: int\n'
    ).body
    assert isinstance(node, ast.ClassDef)
    assert is_dataclass(node)
    assert undocumented(node) == ["two"]


def test_tests_give_intervals_as_arguments_and_replace_nothing_by_its_dotted_name() -> None:
    replaced = re.compile(r'setattr\(\s*f?"pgbouncer_operator')
    assert not [named(path) for path in sorted((ROOT / "tests").rglob("*.py")) if replaced.search(path.read_text())]


@pytest.mark.parametrize("path", READ, ids=named)
def test_words_are_plain(path: Path) -> None:
    text = path.read_text(errors="replace")
    assert not [f"{number}: {line.strip()}" for number, line in enumerate(text.splitlines(), 1) if WORDS.search(line)]


@pytest.mark.parametrize("sentence", ["it begins anew", "be it of nothing", "what is reckoned", "Doubtless"])
def test_words_that_are_not_plain_are_noticed(sentence: str) -> None:
    assert WORDS.search(sentence)


def test_words_that_only_look_like_them_are_not() -> None:
    assert not WORDS.search("a new pod; maybe it waits; in vainglory; a renewed CA")
