"""The map leads to places that exist, names every module of the package, and has a row for every common change."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import documents

import pgbouncer_operator

ROOT = documents.REPOSITORY
PACKAGE = Path(pgbouncer_operator.__file__).parent
RECONCILE = PACKAGE / "reconcile"
MAP = ROOT / "operator/README.md"
PGBOUNCER = PACKAGE / "pgbouncer/README.md"
# Where a path of the map may start, nearest first.
STARTS = (PACKAGE, ROOT / "operator", ROOT / "tests", ROOT)
FILE = r"[\w./<>-]+\.(?:py|md|yaml|json|toml|tpl)"
CHANGES = (
    "spec field of a pool",
    "spec field of a server",
    "PgBouncer setting",
    "drain's order",
    "advise a pool",
    "advise a server",
    "key to the connection Secret",
    "metric of the operator",
    "metric of a pod",
    "alert",
    "condition",
    "reason",
    "document of the protocol",
    "object",
    "chart value",
    "CLI command",
    "page of the documentation",
)


def paths(text: str) -> set[str]:
    """What stands in backticks and is a file or, with a slash at its end, a folder."""
    return {each for each in re.findall(r"`([^`\n]+)`", text) if re.fullmatch(rf"{FILE}|[\w-][\w./-]*/", each)}


def exists(path: str, *starts: Path) -> bool:
    """A part in <> stands for any name."""
    pattern = re.sub(r"<\w+>", "*", path).rstrip("/")
    return any(any(start.glob(pattern)) for start in starts)


def rows(title: str) -> Iterator[tuple[str, str]]:
    """The first cell and the rest of each row of the table below a heading."""
    text = documents.text(MAP).partition(f" {title}\n")[2]
    for line in re.split(r"^##", text, maxsplit=1, flags=re.MULTILINE)[0].splitlines():
        if line.startswith("| ") and not line.startswith(("| in `", "| folder", "| I want")):
            first, _, rest = line.strip("| ").partition(" | ")
            yield first, rest


def missing(text: str) -> set[str]:
    """Paths of a row that lead nowhere. A module's bare name is looked up in the folders that the row names."""
    named = paths(text)
    folders = [start / each for each in named if each.endswith("/") for start in STARTS]
    inside = [
        *folders,
        *(RECONCILE / each for each in named if each.endswith("/")),
        PACKAGE / "reconcile",
    ]
    return {each for each in named if not exists(each, *STARTS, *inside)}


def test_every_path_of_the_map_exists() -> None:
    lost = {path for line in documents.text(MAP).splitlines() for path in missing(line)}
    assert not lost, f"operator/README.md leads to {', '.join(sorted(lost))}: correct the path"


def test_a_path_that_leads_nowhere_is_noticed() -> None:
    assert missing("| add a metric | `metrics.py`, `agent/metric.py` |") == {"agent/metric.py"}
    assert missing("| `pool/` | `observe.py`, `sizes.py` |") == {"sizes.py"}
    assert missing("| add an object | `resources/<object>.py`, `resource/<object>.py` |") == {"resource/<object>.py"}


def modules(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.py")} - {"__init__.py"}


def named_in(title: str) -> dict[str, set[str]]:
    """The files that each row names, by the folder in its first cell; by "" where that cell names files."""
    found: dict[str, set[str]] = {}
    for first, rest in rows(title):
        (folder, *_), files = paths(first), paths(first + rest)
        found.setdefault(folder if folder.endswith("/") else "", set()).update(files)
    return found


def test_every_module_of_the_package_is_named() -> None:
    inside = named_in("reconcile/") | named_in("Modules of the other folders")
    top = {path for first, _ in rows("The package") for path in paths(first)}
    packages = {path.parent for path in PACKAGE.glob("*/**/__init__.py")}
    lost = {
        "The package": (modules(PACKAGE) | {f"{each.name}/" for each in packages if each.parent == PACKAGE}) - top,
        "reconcile/": modules(RECONCILE) - inside[""],
    }
    lost |= {f"{each.name}/": modules(each) - inside.get(f"{each.name}/", set()) for each in packages - {RECONCILE}}
    for place, names in lost.items():
        assert not names, f"operator/README.md does not name {', '.join(sorted(names))} in {place}: add it to its row"


def test_every_campaign_has_a_row_with_its_lengths() -> None:
    call = re.compile(r'length\("(\w+)", short=([\d_]+), full=([\d_]+)\)')
    calls = {
        (*found.groups(), str(path.relative_to(ROOT / "tests")))
        for path in (ROOT / "tests").glob("*/test_*.py")
        for found in call.finditer(path.read_text(encoding="utf-8"))
        if path.name != "test_campaign.py"
    }
    row = re.compile(r"^\| `(PGBOUNCER_TEST_\w+)` \| [^|]+ \| ([\d,]+) \| ([\d,]+) \| (.+) \|$", re.MULTILINE)
    told = {
        (name, short, full, path)
        for name, short, full, places in row.findall(documents.text(MAP))
        for path in paths(places)
    }
    plain = {(name, short.replace("_", ""), full.replace("_", ""), path) for name, short, full, path in calls}
    assert {(name, short.replace(",", ""), full.replace(",", ""), path) for name, short, full, path in told} == plain


@pytest.mark.parametrize("change", CHANGES)
def test_a_common_change_has_a_row_that_names_files_and_a_proof(change: str) -> None:
    (row,) = (rest for first, rest in rows("Where does my change go?") if re.search(rf"\b{change}$", first))
    *places, proof = row.split(" | ")
    assert paths(" ".join(places))
    assert paths(proof) or "golden" in proof


def test_the_page_about_pgbouncer_names_its_own_modules_and_no_other() -> None:
    table = [line for line in documents.text(PGBOUNCER).splitlines() if line.startswith("| `")]
    assert {path for line in table for path in paths(line.split(" | ")[0])} == modules(PGBOUNCER.parent)
