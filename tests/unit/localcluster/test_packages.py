import io
import subprocess
from pathlib import Path

import pytest
from tests.localcluster import packages
from tests.localcluster.layout import Layout
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress

QUIET = Progress(io.StringIO())


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory in PATH; empty."""
    directory = tmp_path / "path"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


def put(directory: Path, *programs: str) -> None:
    for program in programs:
        (directory / program).write_text("#!/bin/sh\n")
        (directory / program).chmod(0o755)


def test_what_is_missing_is_told_as_debian_packages_each_once(path: Path, tmp_path: Path) -> None:
    put(path, "runc", "ip", "openssl", "nsenter", "unshare", "setsid", "mount", "sysctl")

    assert {"containerd", "nftables", "gcc", "libc6-dev"} <= set(packages.missing(Layout(tmp_path, "v1.2.3")))
    assert not {"runc", "iproute2", "util-linux"} & set(packages.missing(Layout(tmp_path, "v1.2.3")))


def test_no_compiler_is_needed_once_pause_is_built(path: Path, tmp_path: Path) -> None:
    files = Layout(tmp_path, "v1.2.3")
    files.recipes.mkdir(parents=True)
    (files.recipes / "pause").write_text("built")

    assert "gcc" not in packages.missing(files)


def test_without_apt_get_the_packages_are_named(path: Path, tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"there is no apt-get here: .*containerd.*nftables"):
        packages.install(Layout(tmp_path, "v1.2.3"), QUIET)


def test_no_service_may_start_during_an_installation_and_any_may_afterwards(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"

    with packages.no_services_started(policy):
        assert subprocess.run([policy]).returncode == 101
    assert not policy.exists()


def test_a_policy_of_the_machines_own_stays_as_it_is(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")

    with packages.no_services_started(policy):
        pass

    assert policy.read_text() == "#!/bin/sh\nexit 0\n"


def test_a_failed_installation_leaves_no_policy(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"

    with pytest.raises(Problem), packages.no_services_started(policy):
        raise Problem("apt-get failed")

    assert not policy.exists()
