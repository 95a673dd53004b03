"""A release: its files install what they say, agree with their checksums, and name their packages."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from spdx_tools.spdx.model import Document, RelationshipType
from spdx_tools.spdx.parser.json.json_parser import parse_from_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from tests.contract.chart import MAJORS, Answer, environment, helm, pod, program
from tests.localcluster import images
from tests.localcluster.problem import Problem
from tests.release import __main__ as command
from tests.release import changelog, packages, push
from tests.release.artefacts import KUBERNETES, Release, make

import pgbouncer_operator
from pgbouncer_operator import naming

ROOT = images.REPOSITORY
VERSION = pgbouncer_operator.__version__
REGISTRY = "registry.example.com:5000/team"
CHART, MANIFEST, PACKAGES = (
    f"pgbouncer-operator-{VERSION}.tgz",
    "install.yaml",
    f"pgbouncer-operator-{VERSION}.spdx.json",
)
WHEEL, SOURCES = f"pgbouncer_operator-{VERSION}-py3-none-any.whl", f"pgbouncer_operator-{VERSION}.tar.gz"
FILES = (CHART, MANIFEST, PACKAGES, WHEEL, SOURCES, "notes.md", "SHA256SUMS")
USED = ("charts", "operator/pgbouncer_operator", "operator/requirements.lock", "pyproject.toml", "README.md", "LICENSE")
SITE = "usr/local/lib/python3.14/dist-packages"
CONTENTS: Mapping[str, Mapping[str, str]] = {
    "operator": {
        "./var/lib/dpkg/status.d/zlib1g": "Package: zlib1g\nVersion: 1:1.3+really1.3.2-3\nArchitecture: amd64\n",
        f"{SITE}/PyYAML-6.0.3.dist-info/METADATA": "Metadata-Version: 2.4\nName: PyYAML\nVersion: 6.0.3\n\nName: no\n",
    },
    "pool": {
        "./var/lib/dpkg/status.d/zlib1g": "Package: zlib1g\nVersion: 1:1.3+really1.3.2-3\nArchitecture: amd64\n",
        "./var/lib/dpkg/status.d/pgbouncer": "Package: pgbouncer\nVersion: 1.26.1-1\nArchitecture: amd64\n",
        f"./{SITE}/cffi-2.1.1.dist-info/METADATA": "Name: cffi\nVersion: 2.1.1\n",
    },
}


def tar(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def image(path: Path, files: Mapping[str, str]) -> Path:
    """A docker-archive of one image, with a layer for each file."""
    layers = {f"{n}/layer.tar": tar({name: text.encode()}) for n, (name, text) in enumerate(files.items())}
    manifest = json.dumps([{"Config": "config.json", "RepoTags": ["x:1"], "Layers": list(layers)}])
    path.write_bytes(tar({"manifest.json": manifest.encode(), **layers}))
    return path


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The repository with the changelog of a release, and images that hold what CONTENTS says."""
    root, archives = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("images")
    for name in USED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, root / name)
    text = f"# Changelog\n\n## {VERSION} (2026-12-31)\n\n### Added\n\n- A.\n\n## 0.0.1 (2026-01-01)\n\n- B.\n"
    (root / "CHANGELOG.md").write_text(text, encoding="utf-8")
    found = program("4") or program("3")
    if found is None:
        pytest.skip("needs Helm: `python3 -m tests.localcluster build` builds it, or put it on PATH")
    kept = {name: image(archives / f"{name}.tar", files) for name, files in CONTENTS.items()}
    return Release(root, VERSION, REGISTRY, found, kept)


@pytest.fixture(scope="module")
def folder(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make release` writes, over what an earlier one left."""
    made = tmp_path_factory.mktemp("release")
    (made / "left.tgz").touch()
    assert set(make(release, made)) == set(FILES)
    return made


def answer(text: str) -> Answer:
    return Answer(tuple(each for each in yaml.safe_load_all(text) if each), "")


def test_every_file_is_there_and_nothing_of_an_earlier_release(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == set(FILES)


def test_the_checksums_are_those_of_the_files_and_a_changed_file_is_noticed(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "copied")
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    said = subprocess.run(command, cwd=copied, capture_output=True, text=True, check=True).stdout
    assert {line.removesuffix(": OK") for line in said.splitlines()} == set(FILES) - {"SHA256SUMS"}
    (copied / "notes.md").write_text("other\n")
    assert subprocess.run(command, cwd=copied, capture_output=True).returncode == 1


@pytest.mark.parametrize("major", MAJORS)
def test_the_chart_installs_images_of_the_registry_with_the_version_as_tag(folder: Path, major: str) -> None:
    said = helm("template", "shop", str(folder / CHART), "--kube-version", KUBERNETES, major=major)
    assert said.returncode == 0, said.stderr
    found = answer(said.stdout)
    (deployment,) = found.kind("Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{REGISTRY}/pgbouncer-operator/operator:{VERSION}"
    shown = helm("show", "chart", str(folder / CHART), major=major)
    chart = yaml.safe_load(shown.stdout)
    assert chart["version"] == chart["appVersion"] == VERSION


def test_the_one_manifest_brings_its_namespace_the_definitions_and_the_operator(folder: Path) -> None:
    found = answer((folder / MANIFEST).read_text(encoding="utf-8"))
    assert (found.objects[0]["kind"], found.objects[0]["metadata"]["name"]) == ("Namespace", "pgbouncer-operator")
    assert {each["metadata"].get("namespace", "pgbouncer-operator") for each in found.objects} == {"pgbouncer-operator"}
    definitions = {each["spec"]["names"]["kind"] for each in found.kind("CustomResourceDefinition")}
    assert definitions == {naming.KIND, naming.SERVER_KIND}
    assert pod(found)["containers"][0]["image"] == f"{REGISTRY}/pgbouncer-operator/operator:{VERSION}"
    assert environment(found)["PGBOUNCER_OPERATOR_POOL_IMAGE"] == f"{REGISTRY}/pgbouncer-operator/pool:{VERSION}"


def test_the_wheel_has_the_command_and_no_test(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(folder / WHEEL) as wheel:
        wheel.extractall(tmp_path)
    about = f"pgbouncer_operator-{VERSION}.dist-info"
    assert {path.name for path in tmp_path.iterdir()} == {"pgbouncer_operator", about}
    assert "pgbouncer-operator = pgbouncer_operator.cli:main" in (tmp_path / about / "entry_points.txt").read_text()
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    words = [sys.executable, "-m", "pgbouncer_operator", "version"]
    said = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, check=True).stdout
    assert VERSION in said


def test_the_sources_are_those_of_the_command(folder: Path) -> None:
    with tarfile.open(folder / SOURCES) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"operator/pgbouncer_operator/cli.py", "pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md"} <= names
    assert not [name for name in names if name.startswith(("tests", "operator/images"))]


def test_the_notes_are_the_section_of_the_changelog(folder: Path) -> None:
    assert (folder / "notes.md").read_text(encoding="utf-8") == "### Added\n\n- A.\n"


# The packages.


def spdx(folder: Path) -> Document:
    return parse_from_file(str(folder / PACKAGES))


def purls(found: Document, name: str, kind: RelationshipType) -> set[str]:
    """The package URLs that stand in a relation to a package of ours."""
    (own,) = (each.spdx_id for each in found.packages if each.name == name)
    urls = {each.spdx_id: [ref.locator for ref in each.external_references] for each in found.packages}
    related = [
        each.related_spdx_element_id
        for each in found.relationships
        if (each.spdx_element_id, each.relationship_type) == (own, kind)
    ]
    return {url for each in related for url in urls[str(each)]}


def test_the_list_of_packages_is_a_valid_document_of_spdx(folder: Path) -> None:
    found = spdx(folder)
    assert validate_full_spdx_document(found) == []
    assert found.creation_info.spdx_version == "SPDX-2.3"
    assert f"{found.creation_info.created:%Y-%m-%d}" == "2026-12-31"
    described = [each for each in found.relationships if each.relationship_type == RelationshipType.DESCRIBES]
    assert len(described) == 3


def test_each_image_contains_the_packages_that_its_archive_has(folder: Path) -> None:
    found = spdx(folder)
    zlib = "pkg:deb/debian/zlib1g@1%3A1.3%2Breally1.3.2-3?arch=amd64"
    assert purls(found, "image-operator", RelationshipType.CONTAINS) == {zlib, "pkg:pypi/pyyaml@6.0.3"}
    assert purls(found, "image-pool", RelationshipType.CONTAINS) == {
        zlib,
        "pkg:pypi/cffi@2.1.1",
        "pkg:deb/debian/pgbouncer@1.26.1-1?arch=amd64",
    }


def test_the_command_depends_on_every_package_of_the_lock(folder: Path) -> None:
    lock = (ROOT / "operator/requirements.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^([a-z0-9-]+)==([0-9][^ ]*)", lock, re.MULTILINE)
    assert len(pins) > 20
    depends = purls(spdx(folder), "pgbouncer-operator", RelationshipType.DEPENDS_ON)
    assert depends == {f"pkg:pypi/{name}@{version}" for name, version in pins}


def test_an_image_without_records_is_refused(tmp_path: Path) -> None:
    archive = image(tmp_path / "x.tar", {"etc/passwd": "root"})
    with pytest.raises(Problem, match="lacks records"):
        packages.of_image(archive)


# Refusals.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# C\n\n## Unreleased\n\n- A.\n", r"name its newest section `## 1\.2\.3 \(YYYY-MM-DD\)`"),
        ("# C\n\n## 1.2.4 (2026-12-31)\n\n- A.\n\n## 1.2.3 (2026-12-30)\n\n- B.\n", "name its newest section"),
        ("# C\n\n## 1.2.3\n\n- A.\n", "name its newest section"),
        ("# C\n\n## 1.2.3 (2026-12-31)\n\n## 1.2.2 (2026-12-30)\n\n- B.\n", "says nothing about 1.2.3"),
    ],
)
def test_a_changelog_without_the_section_of_the_version_is_refused(text: str, words: str) -> None:
    with pytest.raises(Problem, match=words):
        changelog.section(text, "1.2.3")


@pytest.mark.parametrize(
    ("version", "registry", "words"),
    [
        ("", REGISTRY, "name both: make release VERSION="),
        (VERSION, "", "name both: make release VERSION="),
        ("v99.0.0", REGISTRY, f"VERSION is 99.0.0, and the code has {VERSION}"),
    ],
)
def test_a_release_without_its_version_or_registry_is_refused_before_anything_is_built(
    version: str, registry: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([version, registry]) == 1
    assert words in capsys.readouterr().err


def test_a_chart_is_pushed_only_to_a_registry_with_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert push.main([""]) == 1
    assert "name the registry to push to: make push-chart REGISTRY=" in capsys.readouterr().err


def test_only_the_chart_of_one_release_is_pushed(folder: Path, tmp_path: Path) -> None:
    assert push.only_chart(folder) == folder / CHART
    with pytest.raises(Problem, match="0 charts, not one: run `make release` first"):
        push.only_chart(tmp_path)


def test_a_registry_that_does_not_answer_is_told_in_helms_words(release: Release, folder: Path) -> None:
    with pytest.raises(Problem, match=r"push .* failed:\n(.|\n)*refused"):
        push.push(folder / CHART, "127.0.0.1:1", release.helm, "--plain-http")
