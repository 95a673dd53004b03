"""What a benchmark stands on: the local cluster, no other operator in it, and the definitions of both kinds."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.localcluster import environment, layout
from tests.localcluster.commands import ensure
from tests.localcluster.execution import run
from tests.localcluster.progress import Progress

from pgbouncer_operator import naming

CRDS = Path(__file__).parents[2] / "crds"
KINDS = (naming.PLURAL, naming.SERVER_PLURAL)


def prepare(progress: Progress) -> tuple[dict[str, str], Path]:
    """Kubectl's environment, and the API server's audit log. SystemExit where an operator is installed."""
    files = layout.from_environment()
    ensure(files, progress)
    env = environment.variables(files, os.environ)
    chosen = ["-A", "-l", "app.kubernetes.io/name=pgbouncer-operator", "-o", "name"]
    if run(["kubectl", "get", "deployments", *chosen], environment=env).strip():
        raise SystemExit("bench: an operator is installed and would do the work twice: helm uninstall it first")
    return env, files.audit_log


# `--for=condition` fails where a new definition has no condition yet.
ESTABLISHED = '--for=jsonpath={.status.conditions[?(@.type=="Established")].status}=True'


@contextlib.contextmanager
def definitions(env: Mapping[str, str]) -> Iterator[None]:
    """The CRDs while we measure, as far as they lack: Helm would not take over one that was applied by hand."""
    found = run(["kubectl", "get", "customresourcedefinitions", "-o", "name"], environment=env)
    names = [f"{plural}.{naming.GROUP}" for plural in KINDS if f"{plural}.{naming.GROUP}" not in found]
    files = [argument for name in names for argument in ("-f", str(CRDS / f"{name}.yaml"))]
    if not names:
        yield
        return
    try:
        run(["kubectl", "create", *files], environment=env)
        waited = [f"crd/{name}" for name in names]
        run(["kubectl", "wait", ESTABLISHED, *waited, "--timeout=30s"], environment=env)
        yield
    finally:
        run(["kubectl", "delete", "--ignore-not-found", *files], environment=env)
