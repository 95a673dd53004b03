"""Write every generated file, or say which are stale.

python -m tests.generate            write
python -m tests.generate --check    list what is stale; exit 1 if anything is
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from tests import generate_chart, generate_docs
from tests.reference import simulations

from pgbouncer_operator.api import crd, crd_server

ROOT = Path(__file__).resolve().parents[1]
CHART = Path("charts/pgbouncer-operator")


def files(root: Path) -> dict[Path, str]:
    """Every generated file, relative to `root`, with what it should hold."""
    found, pools = {Path("crds") / name: text for name, text in crd.files().items()}, crd.render()
    found[CHART / "templates" / "crds.yaml"] = generate_chart.crd_template(pools, crd.without_costly_rules(pools))
    found[CHART / "templates" / "crds-postgresserver.yaml"] = generate_chart.crd_template(crd_server.render())
    found[CHART / "README.md"] = generate_chart.readme(root / CHART)
    found |= generate_docs.pages(root)
    found |= simulations.pictures()
    return found


def stale(root: Path, wanted: Mapping[Path, str]) -> list[Path]:
    """The files below `root` that are missing or hold something else, sorted."""
    return sorted(path for path, text in wanted.items() if _content(root / path) != text)


def write(root: Path, wanted: Mapping[Path, str]) -> list[Path]:
    """Write what is stale and return it."""
    written = stale(root, wanted)
    for path in written:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(wanted[path], encoding="utf-8")
    return written


def _content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(argv: list[str], root: Path = ROOT) -> int:
    """The command line; 0, or 1 when --check finds a stale file or a source is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.generate", description="The generated files.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is stale")
    given = parser.parse_args(argv)
    try:
        wanted = files(root)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if not given.check:
        for path in write(root, wanted):
            print(f"wrote {path}")
        return 0
    found = stale(root, wanted)
    for path in found:
        print(f"{path} is stale. Run `make generate` and commit what it writes.", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
