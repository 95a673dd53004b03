"""The chart of a release goes into a registry, and Helm installs from there what it would install from the file."""

import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.contract.chart import MAJORS, Object, helm
from tests.contract.debian import Program
from tests.contract.test_release import CHART, VERSION, folder, release
from tests.process.servers import free_port, wait_until
from tests.release.artefacts import KUBERNETES, Release
from tests.release.push import push

__all__ = ["folder", "release"]  # pytest finds the fixtures by their names here

pytestmark = pytest.mark.process

REMEDY = "put it on PATH: Debian's package docker-registry has it"
REGISTRY = Program("docker-registry", "docker-registry", REMEDY)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of an empty registry without TLS and login."""
    REGISTRY.install()
    home, host = tmp_path_factory.mktemp("registry"), f"127.0.0.1:{free_port()}"
    storage = {"filesystem": {"rootdirectory": str(home / "data")}}
    text = yaml.safe_dump({"version": "0.1", "storage": storage, "http": {"addr": host}, "log": {"level": "error"}})
    (home / "config.yml").write_text(text, encoding="utf-8")
    with (
        (home / "log").open("w") as log,
        subprocess.Popen([REGISTRY.path(), "serve", str(home / "config.yml")], stdout=log, stderr=log) as running,
    ):
        try:
            wait_until(lambda: answers(host), "the registry answers")
            yield host
        finally:
            running.terminate()


def answers(host: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{host}/v2/", timeout=5) as said:
            return bool(said.status == 200)
    except OSError:  # nobody listens yet
        return False


def objects(*arguments: str, major: str) -> list[Object]:
    said = helm("template", "shop", *arguments, "--kube-version", KUBERNETES, major=major)
    assert said.returncode == 0, said.stderr
    return [each for each in yaml.safe_load_all(said.stdout) if each]


@pytest.mark.parametrize("major", MAJORS)
def test_helm_installs_from_the_registry_what_it_installs_from_the_file(
    release: Release, folder: Path, registry: str, major: str
) -> None:
    where = push(folder / CHART, f"{registry}/team", release.helm, "--plain-http")
    assert where == f"oci://{registry}/team/charts/pgbouncer-operator"
    found = objects(where, "--version", VERSION, "--plain-http", major=major)
    assert found == objects(str(folder / CHART), major=major)
    assert len(found) > 5
