import pytest

from pgbouncer_operator.kube import resources
from pgbouncer_operator.kube.resources import Resource


@pytest.mark.parametrize(
    ("resource", "where", "path"),
    [
        (resources.PODS, ("ns", "a"), "/api/v1/namespaces/ns/pods/a"),
        (resources.PODS, ("ns", "a", "status"), "/api/v1/namespaces/ns/pods/a/status"),
        (resources.PODS, ("ns",), "/api/v1/namespaces/ns/pods"),
        (resources.PODS, (), "/api/v1/pods"),
        (resources.DEPLOYMENTS, ("ns", "a"), "/apis/apps/v1/namespaces/ns/deployments/a"),
        (resources.NAMESPACES, ("", "ns"), "/api/v1/namespaces/ns"),
        (resources.NAMESPACES, ("ignored", "ns"), "/api/v1/namespaces/ns"),
        (
            resources.CONNECTION_POOLS,
            ("ns", "a", "status"),
            "/apis/pgbouncer-operator.io/v1alpha1/namespaces/ns/connectionpools/a/status",
        ),
    ],
)
def test_paths_are_the_apis(resource: Resource, where: tuple[str, ...], path: str) -> None:
    assert resource.path(*where) == path


def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    assert resources.SECRETS.path("a/b", "../c?d#e") == "/api/v1/namespaces/a%2Fb/secrets/..%2Fc%3Fd%23e"


def test_every_row_is_found_by_its_manifest_and_plurals_are_unique() -> None:
    for resource in resources.ALL:
        assert resources.of(resource.api_version, resource.kind) is resource
    assert len({resource.plural for resource in resources.ALL}) == len(resources.ALL)


def test_an_unknown_kind_says_where_to_add_it() -> None:
    with pytest.raises(KeyError, match=r"kube/resources\.py"):
        resources.of("batch/v1", "Job")
