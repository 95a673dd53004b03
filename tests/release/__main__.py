"""`make release VERSION=1.2.3 REGISTRY=registry.example.com/team`: the files of a release, in build/release.

It builds the images for their lists of packages. It pushes and signs nothing.
"""

import argparse
import sys
from pathlib import Path

from tests.contract.chart import MAJORS, program
from tests.localcluster import images
from tests.localcluster.problem import Problem
from tests.release.artefacts import Release, due, make

FOLDER = images.REPOSITORY / "build/release"


def main(argv: list[str]) -> int:
    """The command line; 0, or 1 with what went wrong on stderr."""
    parser = argparse.ArgumentParser(prog="python -m tests.release", description="The files of a release.")
    parser.add_argument("version", help="of the code; a tag's leading v is dropped")
    parser.add_argument("registry", help="where the images are, with the path")
    given = parser.parse_args(argv)
    try:
        for name in make(_release(given.version, given.registry), FOLDER):
            print(FOLDER.relative_to(images.REPOSITORY) / name)
    except Problem as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _release(version: str, registry: str) -> Release:
    """What fails soon is asked first: images take minutes."""
    if not version or not registry:
        raise Problem("name both: make release VERSION=1.2.3 REGISTRY=registry.example.com/team")
    version = version.removeprefix("v")
    due(images.REPOSITORY, version)
    found = helm()
    archives: dict[str, Path] = {name: built.archive for name, built in images.build(images.RELEASED).items()}
    return Release(images.REPOSITORY, version, registry.rstrip("/"), found, archives)


def helm() -> str:
    """The program. Problem where there is none."""
    found = next(filter(None, map(program, MAJORS)), None)
    if found is None:
        raise Problem("there is no Helm: `python3 -m tests.localcluster build` builds it, or put it on PATH")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
