"""The pytest fixture `cluster`. Use it with `from tests.localcluster.fixture import cluster` in a conftest.py."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.localcluster import addresses, backend, environment, layout
from tests.localcluster.commands import change_node, ensure, load_archives
from tests.localcluster.execution import run
from tests.localcluster.layout import Layout
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster: its kubeconfig, the environment for kubectl and helm, the API server's audit log."""

    kubeconfig: Path
    env: Mapping[str, str]
    audit_log: Path
    layout: Layout

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess calls it
        """kubectl's output; Problem with what it said when it failed."""
        return run(["kubectl", *arguments], text=input, environment=self.env)

    def helm(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        """helm's output; Problem with what it said when it failed."""
        return run(["helm", *arguments], text=input, environment=self.env)

    def load(self, archives: Sequence[Path]) -> None:
        """Import image archives, but for those that are there already."""
        load_archives(self.layout, archives, Progress())


def running() -> Cluster:
    """The cluster, started unless it runs. It keeps running: the next test session then starts at once."""
    files = layout.from_environment()
    ensure(files, Progress())
    return Cluster(files.kubeconfig, environment.variables(files, os.environ), files.audit_log, files)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """A running cluster; skipped where none is possible."""
    try:
        backend.choose()
    except Problem as impossible:
        pytest.skip(str(impossible))
    return running()


@contextlib.contextmanager
def second_node(archives: Sequence[Path]) -> Iterator[str]:
    """A second node with these images while the block runs; its name. Skipped where the cluster is kind's."""
    if backend.choose() != "bare":
        pytest.skip("a second node is not available with kind")
    files = layout.from_environment()
    change_node(files, "add", Progress())
    try:
        load_archives(files, archives, Progress())
        yield addresses.SECOND.name
    finally:
        change_node(files, "remove", Progress())
