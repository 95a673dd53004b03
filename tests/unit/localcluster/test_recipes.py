from pathlib import Path

import pytest
from tests.localcluster import layout, recipes
from tests.localcluster.recipes import Recipe

VERSION = layout.kubernetes_version()
ALL = (*recipes.servers(VERSION), *recipes.clients(VERSION), recipes.helm3(), recipes.kind())


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.program)
def test_a_programs_module_is_complete_so_that_nothing_is_resolved_on_the_users_machine(recipe: Recipe) -> None:
    directory = layout.GO_MODULES / recipe.module

    assert (directory / "go.mod").is_file()
    assert (directory / "go.sum").is_file()
    assert "-mod=readonly" in recipe.command("go", Path("out"))


def test_every_staging_module_of_kubernetes_is_replaced_by_the_one_of_the_same_release() -> None:
    text = (layout.GO_MODULES / "kubernetes" / "go.mod").read_text()
    replaced = [line.split() for line in text.splitlines() if "=>" in line]

    assert len(replaced) == 31
    assert {(line[0] == line[2], line[3]) for line in replaced} == {(True, VERSION.replace("v1.", "v0.", 1))}


def test_a_program_tells_its_version() -> None:
    flags = " ".join(recipes.servers("v1.36.3")[1].command("go", Path("out")))

    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in flags
    assert "-X k8s.io/component-base/version.gitMinor=36" in flags


def test_each_program_is_built_once() -> None:
    names = [recipe.program for recipe in ALL]

    assert sorted(names) == sorted(set(names))


def test_another_version_is_another_fingerprint() -> None:
    one, other = recipes.clients("v1.36.3")[0], recipes.clients("v1.36.4")[0]

    assert one.fingerprint() != other.fingerprint()


def test_a_module_that_does_not_require_a_path_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"go/helm/go\.mod: no requirement of example\.org/x"):
        recipes.required_version("helm", "example.org/x")
