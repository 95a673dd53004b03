import pytest
import yaml
from tests.contract.pools import Object, pool
from tests.contract.servers import server

from pgbouncer_operator import offline

SHARED = pool(lambda spec: spec.update(backend={"serverRef": {"name": "rds"}}))


def manifest(*bodies: Object) -> str:
    return yaml.safe_dump_all(bodies)


@pytest.mark.parametrize(
    ("bodies", "line"),
    [
        ((pool(),), "shop-pool: ok, 2 pods share 25 server connections"),
        ((pool(lambda spec: spec.update(replicas=1)),), "shop-pool: ok, 1 pod has 25 server connections"),
        ((SHARED,), "shop-pool: ok, a PostgresServer allocates its server connections"),
        ((server(),), "default/rds: ok, pools share 100 server connections"),
        (
            (server(connections=None),),
            "default/rds: ok, but pools get no connections until connections.max or monitoring.secretRef is set",
        ),
    ],
)
def test_a_check_counts_what_pods_or_pools_share(bodies: tuple[Object, ...], line: str) -> None:
    assert offline.check(manifest(*bodies)) == offline.Result(f"{line}\n", ())


def test_a_render_without_the_pools_server_asks_for_the_server() -> None:
    assert offline.render(manifest(SHARED), "pool:1").problems == (
        "shop-pool: add the PostgresServer of backend.serverRef, with connections.max, to the manifest.",
    )


def test_a_pool_whose_server_is_in_a_secret_is_rendered_with_the_secret_and_checked_without() -> None:
    named = pool(lambda spec: spec.update(backend={"secretRef": {"name": "neon"}}, databases=None, users=None))
    url = {"DATABASE_URL": "postgres://app:hush@ep-cool.example.com/shop?sslmode=require"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "neon"}, "stringData": url}
    assert offline.check(manifest(named)) == offline.Result("shop-pool: ok, its Secret names the server\n", ())
    missing = ("shop-pool: add the Secret of backend.secretRef to the manifest.",)
    assert offline.render(manifest(named), "pool:1").problems == missing
    rendered = offline.render(manifest(secret, named), "pool:1")
    assert rendered.problems == ()
    assert "ep-cool.example.com" in rendered.text
    assert "hush" not in rendered.text


def test_what_a_secret_of_the_manifest_lacks_is_a_problem_of_the_pool() -> None:
    named = pool(lambda spec: spec.update(backend={"secretRef": {"name": "neon"}}))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "neon"}, "data": {"url": "bm9uZQ=="}}
    (problem,) = offline.check(manifest(named, secret)).problems
    assert problem.startswith("shop-pool: spec.backend.secretRef: Secret neon: key url is not a URL that begins with")


def test_a_manifest_without_objects_of_the_operator_is_a_problem() -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}}
    assert offline.check(manifest(other)).problems == (
        "The manifest holds no ConnectionPool and no PostgresServer of pgbouncer-operator.io/v1alpha1.",
    )
    assert offline.render(manifest(other, server()), "pool:1").problems == (
        "The manifest holds no ConnectionPool of pgbouncer-operator.io/v1alpha1.",
    )
