"""Put the operator into the local cluster: images loaded, chart installed, and what a namespace with a database needs.

python3 -m tests.localcluster.deploy        what `make deploy` runs
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.localcluster import environment, images, layout
from tests.localcluster.commands import ensure, load_archives
from tests.localcluster.execution import run
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts" / "pgbouncer-operator"
POSTGRES = Path(__file__).parent / "manifests" / "postgres.yaml"
NAMESPACE = "pgbouncer-operator"
RELEASE = "pgbouncer-operator"
NAMESPACE_MANIFEST = """\
apiVersion: v1
kind: Namespace
metadata: {name: NAME, labels: {pod-security.kubernetes.io/enforce: restricted}}
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A running cluster that holds our images, by name."""

    env: Mapping[str, str]
    built: Mapping[str, images.Built]
    progress: Progress

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """kubectl's output; Problem with what it said when it failed."""
        return run(["kubectl", *arguments], text=text, environment=self.env)

    def reference(self, image: str) -> str:
        """The image's name in the cluster."""
        return self.built[image].reference


def site(progress: Progress) -> Site:
    """Start the cluster unless it runs, build the images whose sources changed, and load them."""
    files = layout.from_environment()
    ensure(files, progress)
    built = images.build(progress=progress)
    with progress.step("loading the images into the cluster"):
        load_archives(files, [each.archive for each in built.values()], progress)
    return Site(environment.variables(files, os.environ), built, progress)


def install(at: Site, *values: str) -> None:
    """Install or upgrade the operator with Helm and wait until it is ready. values: more of `--set`."""
    chosen = [
        *image_values("image", at.reference("operator")),
        *image_values("poolImage", at.reference("pool")),
        *values,
    ]
    settings = [word for value in chosen for word in ("--set", value)]
    command = ["helm", "upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--create-namespace"]
    with at.progress.step("helm install"):
        run([*command, *settings, "--wait", "--timeout", "3m"], environment=at.env)


def image_values(key: str, reference: str) -> list[str]:
    """The chart's values for an image reference."""
    repository, _, tag = reference.rpartition(":")
    return [f"{key}.repository={repository}", f"{key}.tag={tag}"]


def postgres(at: Site, namespace: str) -> None:
    """A namespace under the restricted profile with PostgreSQL in it, and the login `shop` in the Secret shop-db."""
    at.kubectl("apply", "-f", "-", text=NAMESPACE_MANIFEST.replace("NAME", namespace))
    text = POSTGRES.read_text(encoding="utf-8").replace("POSTGRES_IMAGE", at.reference("postgres"))
    with at.progress.step("PostgreSQL 18 with 30 connections"):
        at.kubectl("apply", "-n", namespace, "-f", "-", text=text)
        at.kubectl("rollout", "status", "-n", namespace, "deployment/postgres", "--timeout=120s")


def main() -> int:
    """Install the operator; 0, or 1 with what went wrong."""
    try:
        at = site(Progress())
        install(at)
    except Problem as problem:
        print(f"deploy: {problem}", file=sys.stderr)
        return 1
    print('The operator runs. Next: eval "$(make -s cluster-env)" and apply a ConnectionPool.')
    return 0


if __name__ == "__main__":
    sys.exit(main())
