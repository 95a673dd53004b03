from pathlib import Path

import pytest
from tests.localcluster import layout, recipes
from tests.localcluster.recipes import Recipe

VERSIONS = layout.kubernetes_versions()
VERSION = layout.kubernetes_version()
ALL = (*recipes.servers(VERSION), *recipes.clients(VERSION), recipes.helm3(), recipes.actionlint(), recipes.kind())


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.program)
def test_a_programs_module_is_complete_so_that_nothing_is_resolved_on_the_users_machine(recipe: Recipe) -> None:
    directory = layout.GO_MODULES / recipe.module

    assert (directory / "go.mod").is_file()
    assert (directory / "go.sum").is_file()
    assert "-mod=readonly" in recipe.command("go", Path("out"))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_staging_module_of_kubernetes_is_replaced_by_the_one_of_the_same_release(version: str) -> None:
    text = (layout.GO_MODULES / VERSIONS[version] / "go.mod").read_text()
    replaced = [line.split() for line in text.splitlines() if "=>" in line]

    assert len(replaced) >= 30
    assert {(line[0] == line[2], line[3]) for line in replaced} == {(True, version.replace("v1.", "v0.", 1))}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_kubernetes_is_built_from_a_module_of_its_own(version: str) -> None:
    kubernetes = [each for each in recipes.servers(version) if each.program.startswith("kube")]

    assert {each.module for each in kubernetes} == {VERSIONS[version]}
    assert (layout.GO_MODULES / VERSIONS[version] / "go.sum").is_file()


def test_a_program_tells_its_version() -> None:
    flags = " ".join(recipes.servers(VERSION)[1].command("go", Path("out")))

    assert f"-X k8s.io/component-base/version.gitVersion={VERSION}" in flags
    assert f"-X k8s.io/component-base/version.gitMinor={VERSION.split('.')[1]} " in flags


def test_each_program_is_built_once() -> None:
    names = [recipe.program for recipe in ALL]

    assert sorted(names) == sorted(set(names))


def test_another_version_is_another_fingerprint() -> None:
    fingerprints = {recipes.clients(version)[0].fingerprint() for version in VERSIONS}

    assert len(fingerprints) == len(VERSIONS)


def test_a_module_that_does_not_require_a_path_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"go/helm/go\.mod: no requirement of example\.org/x"):
        recipes.required_version("helm", "example.org/x")
