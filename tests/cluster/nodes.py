"""A second node for a while, and its drain as an administrator does it."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator

from tests.cluster.pools import PAUSE, Namespace
from tests.localcluster import addresses
from tests.localcluster.fixture import second_node
from tests.localcluster.waiting import until

FIRST = addresses.NODE_NAME
SECONDS = 180  # a drain may take
OPTIONS = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={SECONDS}s")


@contextlib.contextmanager
def another(here: Namespace) -> Iterator[str]:
    """A second node while the block runs; its name. Skipped where the cluster is kind's."""
    with second_node([built.archive for built in here.site.built.values()]) as name:
        try:
            yield name
        finally:
            only(here, FIRST, name)


def only(here: Namespace, *nodes: str) -> None:
    """Let new pods start on these nodes and on no other."""
    for name in (FIRST, addresses.SECOND.name):
        here.kubectl("uncordon" if name in nodes else "cordon", name)


def drain(here: Namespace, node: str) -> "subprocess.Popen[str]":
    """Begin to drain the node."""
    command = ["kubectl", "drain", node, *OPTIONS]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(here.site.env)
    )


def ended(draining: "subprocess.Popen[str]", meanwhile: Callable[[], None] = lambda: None) -> str:
    """Look again and again until the drain has ended; what it said."""

    def missing() -> str:
        meanwhile()
        return "the end of the drain" if draining.poll() is None else ""

    try:
        until(missing, SECONDS, PAUSE)
    finally:
        draining.kill()
    said, _ = draining.communicate()
    assert draining.returncode == 0, said
    return said
