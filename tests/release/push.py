"""`make push-chart REGISTRY=registry.example.com/team`: the chart of build/release as an OCI artefact.

The login is Helm's or Docker's own: `helm registry login` or `docker login`.
"""

import re
import sys
from pathlib import Path

from tests.localcluster.problem import Problem
from tests.release.__main__ import FOLDER, helm
from tests.release.artefacts import NAME, run


def push(chart: Path, registry: str, program: str, *options: str) -> str:
    """Push the packaged chart; where it is, for `helm install`. Problem with what Helm said when it failed."""
    run([program, "push", str(chart), f"oci://{registry}/charts", *options], chart.parent)
    return f"oci://{registry}/charts/{NAME}"


def only_chart(folder: Path) -> Path:
    """The packaged chart of a release. Problem when there is none or several."""
    found = [path for path in folder.glob("*.tgz") if re.fullmatch(rf"{NAME}-\d+\.\d+\.\d+\.tgz", path.name)]
    if len(found) != 1:
        raise Problem(f"{folder} has {len(found)} charts, not one: run `make release` first")
    return found[0]


def main(argv: list[str]) -> int:
    """The command line; 0, or 1 with what went wrong on stderr."""
    registry = (argv or [""])[0].rstrip("/")
    try:
        if not registry:
            raise Problem("name the registry to push to: make push-chart REGISTRY=registry.example.com/team")
        print(push(only_chart(FOLDER), registry, helm()))
    except Problem as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
