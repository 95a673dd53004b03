from pathlib import Path

import pytest
from tests.localcluster import layout
from tests.localcluster.problem import Problem


def test_the_cache_is_below_the_xdg_cache_directory_when_one_is_set() -> None:
    assert layout.from_environment({"XDG_CACHE_HOME": "/big/cache"}).cache == Path("/big/cache/pgbouncer-operator")


def test_the_cache_is_below_the_home_directory_otherwise() -> None:
    assert layout.from_environment({}).cache == Path.home() / ".cache" / "pgbouncer-operator"


def test_removing_the_state_keeps_the_built_programs_and_the_lock() -> None:
    found = layout.from_environment({})

    for kept in (found.programs, found.recipes, found.lock):
        assert not kept.is_relative_to(found.state)


def test_all_that_belongs_to_one_cluster_is_in_its_state_directory() -> None:
    found = layout.from_environment({})

    for gone in (found.certificates, found.configuration, found.logs, found.kubeconfig, found.audit_log):
        assert gone.is_relative_to(found.state)


def test_the_version_is_the_one_that_the_go_module_pins() -> None:
    text = (layout.GO_MODULES / "kubernetes" / "go.mod").read_text()

    assert f"require k8s.io/kubernetes {layout.kubernetes_version()}\n" in text


@pytest.mark.parametrize("minor", ["1.33", "1.36", "1.37"])
def test_a_minor_of_kubernetes_can_be_chosen(minor: str) -> None:
    found = layout.from_environment({"KUBERNETES": minor})

    assert found.version.startswith(f"v{minor}.")
    assert found.version in str(found.programs)


def test_a_minor_that_cannot_be_built_is_refused_with_those_that_can() -> None:
    with pytest.raises(Problem, match=r"KUBERNETES=1\.3 cannot be built: choose one of 1\.33, 1\.36, 1\.37"):
        layout.from_environment({"KUBERNETES": "1.3"})
