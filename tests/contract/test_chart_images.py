"""Where the chart's two images come from, and with which Secrets nodes pull them."""

import pytest
import yaml
from tests.contract.chart import CHART, MAJORS, environment, pod, rendered

from pgbouncer_operator.settings import Settings


def images(*values: str) -> tuple[str, str]:
    answer = rendered(*values)
    (container,) = pod(answer)["containers"]
    return container["image"], environment(answer)["PGBOUNCER_OPERATOR_POOL_IMAGE"]


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize(
    ("values", "operator", "pool"),
    [
        ((), "", ""),
        (("registry=a.example/x",), "a.example/x/", "a.example/x/"),
        (("registry=a.example", "global.imageRegistry=b.example:5000/y/"), "b.example:5000/y/", "b.example:5000/y/"),
        (("global.imageRegistry=b.example", "image.registry=c.example"), "c.example/", "b.example/"),
        (("registry=a.example", "poolImage.registry=d.example/"), "a.example/", "d.example/"),
    ],
)  # fmt: skip
def test_the_registry_of_an_image_is_its_own_else_the_global_one_else_the_charts(
    major: str, values: tuple[str, ...], operator: str, pool: str
) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    answer = rendered(*values, major=major)

    assert pod(answer)["containers"][0]["image"] == f"{operator}pgbouncer-operator/operator:{version}"
    assert environment(answer)["PGBOUNCER_OPERATOR_POOL_IMAGE"] == f"{pool}pgbouncer-operator/pool:{version}"


@pytest.mark.parametrize(
    ("values", "operator", "pools"),
    [
        ((), [], ()),
        (('imagePullSecrets:=[{"name": "own"}]',), ["own"], ()),
        (("poolImage.pullSecrets[0].name=pools",), [], ("pools",)),
        (('global.imagePullSecrets:=["a", {"name": "b"}]',), ["a", "b"], ("a", "b")),
        (
            ("global.imagePullSecrets={a,own}", "imagePullSecrets[0].name=own", "poolImage.pullSecrets[0].name=pools"),
            ["own", "a"],
            ("pools", "a", "own"),
        ),
    ],
)
def test_pull_secrets_reach_the_operator_and_the_pools_each_once(
    values: tuple[str, ...], operator: list[str], pools: tuple[str, ...]
) -> None:
    answer = rendered(*values)

    assert [each["name"] for each in pod(answer).get("imagePullSecrets", [])] == operator
    assert Settings.from_environment(environment(answer)).image_pull_secrets == pools


def test_images_come_from_one_registry_with_the_charts_version_as_tag() -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]

    assert images() == (f"pgbouncer-operator/operator:{version}", f"pgbouncer-operator/pool:{version}")
    assert images("registry=registry.example.com:5000/team/") == (
        f"registry.example.com:5000/team/pgbouncer-operator/operator:{version}",
        f"registry.example.com:5000/team/pgbouncer-operator/pool:{version}",
    )


def test_repository_tag_and_digest_of_each_image_are_its_own() -> None:
    digest = f"sha256:{'a' * 64}"

    assert images("image.repository=localhost/a/operator", "image.tag=v1", "poolImage.repository=localhost/b/pool") == (
        "localhost/a/operator:v1",
        images()[1].replace("pgbouncer-operator/pool", "localhost/b/pool"),
    )
    assert images(f"poolImage.digest={digest}", "poolImage.tag=v2")[1] == f"pgbouncer-operator/pool@{digest}"


def test_no_default_names_a_registry() -> None:
    for image in images():
        assert image.partition("/")[0] == "pgbouncer-operator"
