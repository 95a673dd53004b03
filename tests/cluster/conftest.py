"""The real cluster with the operator in it by Helm, and for each module a namespace with a PostgreSQL of its own."""

from collections.abc import Callable, Iterator

import pytest
from tests.cluster.audit import Audit
from tests.cluster.pools import Namespace
from tests.localcluster import deploy
from tests.localcluster.deploy import Site
from tests.localcluster.fixture import Cluster, cluster
from tests.localcluster.progress import Progress

__all__ = ["cluster"]  # pytest finds the fixture by its name here


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the cluster."""
    for item in items:
        if "/tests/cluster/" in str(item.path):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def audit(cluster: Cluster) -> Audit:
    """What the API server has been asked since this session began."""
    return Audit.since_now(cluster.audit_log)


@pytest.fixture(scope="session")
def site(cluster: Cluster, audit: Audit) -> Site:  # the audit begins before the operator does
    """The cluster with our images, and the operator installed by its chart."""
    at = deploy.site(Progress())
    deploy.install(at)
    return at


@pytest.fixture(scope="module")
def here(site: Site, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """This module's namespace, under the restricted profile, with PostgreSQL."""
    name = "t-" + request.module.__name__.rpartition(".test_")[2].replace("_", "-")
    site.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=true")
    deploy.postgres(site, name)
    yield Namespace(site, name)
    site.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print figures past pytest's capture: they are shown, never asserted."""

    def speak(text: str) -> None:
        with capsys.disabled():
            print(f"\n    {text}", flush=True)

    return speak
