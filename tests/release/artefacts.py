"""The files of a release, in one folder."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster.problem import Problem
from tests.release import changelog, packages, sbom

NAME = "pgbouncer-operator"
KUBERNETES = "1.36.0"  # Helm asks for one where it talks to no cluster; the chart makes the same of any
REGISTRY = re.compile(r'^registry: ""$', re.MULTILINE)  # the one line of the chart's values that names the registry
HEAD = f"""\
# {NAME} {{version}}: kubectl apply --server-side -f install.yaml
# With other values, and to upgrade and roll back, take the chart.
apiVersion: v1
kind: Namespace
metadata: {{{{name: {NAME}}}}}
"""


@dataclass(frozen=True, slots=True)
class Release:
    """What a release is made from."""

    root: Path
    """The repository."""
    version: str
    registry: str
    """Where both images are: the default of the chart."""
    helm: str
    """The program."""
    archives: Mapping[str, Path]
    """The docker-archive of each image, by its name."""


def due(root: Path, version: str) -> changelog.Section:
    """What changes with the version. Problem when the code has another version, or the changelog another section."""
    project = tomllib.loads(_read(root / "pyproject.toml"))["project"]
    if project["version"] != version:
        raise Problem(
            f"VERSION is {version}, and the code has {project['version']}: "
            "change pyproject.toml, operator/pgbouncer_operator/__init__.py and Chart.yaml, or VERSION"
        )
    return changelog.section(_read(root / "CHANGELOG.md"), version)


def make(release: Release, folder: Path) -> tuple[str, ...]:
    """Write the files of a release into `folder`, which is emptied; their names. Problem says what is missing."""
    section = due(release.root, release.version)
    with tempfile.TemporaryDirectory() as name:
        made = Path(name) / "release"
        made.mkdir()
        chart = _chart(release, made)
        (made / "install.yaml").write_text(_manifest(release, chart), encoding="utf-8")
        epoch = {"SOURCE_DATE_EPOCH": str(int(section.day.timestamp()))}
        run([sys.executable, "-m", "hatchling", "build", "--directory", str(made)], release.root, epoch)
        (made / "notes.md").write_text(section.text, encoding="utf-8")
        parts = sbom.Parts(
            release.version,
            packages.locked(_read(release.root / "operator/requirements.lock")),
            {image: packages.of_image(archive) for image, archive in release.archives.items()},
        )
        sbom.write(sbom.document(parts, section.day), made / f"{NAME}-{release.version}.spdx.json")
        (made / "SHA256SUMS").write_text(_sums(made), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made, folder)
    return tuple(sorted(path.name for path in folder.iterdir()))


def _chart(release: Release, folder: Path) -> Path:
    """The packaged chart, whose images come from the registry."""
    with tempfile.TemporaryDirectory() as name:
        chart = Path(name) / NAME
        shutil.copytree(release.root / "charts" / NAME, chart)
        values, lines = REGISTRY.subn(f"registry: {release.registry}", _read(chart / "values.yaml"))
        if lines != 1:
            raise Problem(f'values.yaml of the chart has {lines} lines `registry: ""`, not one')
        (chart / "values.yaml").write_text(values, encoding="utf-8")
        version = ["--version", release.version, "--app-version", release.version]
        run([release.helm, "package", str(chart), "--destination", str(folder), *version], release.root)
    return folder / f"{NAME}-{release.version}.tgz"


def _manifest(release: Release, chart: Path) -> str:
    """Every object of the chart, with the definitions and the namespace."""
    command = [release.helm, "template", NAME, str(chart), "--namespace", NAME, "--kube-version", KUBERNETES]
    return HEAD.format(version=release.version) + run(command, release.root)


def _sums(folder: Path) -> str:
    """What `sha256sum --check` reads."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(found.items()))


def run(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a program prints; Problem with what it said when it failed."""
    variables = {**os.environ, "KUBECONFIG": os.devnull, **(environment or {})}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Problem(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr).strip()}")
    return done.stdout


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
