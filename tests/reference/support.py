"""The versions that the tests run, read from where they are pinned."""

import re
from pathlib import Path

import yaml
from tests.process import rootfs
from tests.reference.markdown import table

from pgbouncer_operator.pgbouncer import parameters

ROOT = Path(__file__).parents[2]
GO = ROOT / "tests" / "localcluster" / "go"
CHART = ROOT / "charts" / "pgbouncer-operator" / "Chart.yaml"


def versions() -> str:
    """Each program: what is supported, what the tests run."""
    chart = yaml.safe_load(CHART.read_text(encoding="utf-8"))
    oldest = re.sub(r"^>=(\d+\.\d+)\..*$", r"\1", chart["kubeVersion"])
    (postgresql,) = (name.removeprefix("postgresql-") for name in rootfs.PACKAGES if name.startswith("postgresql-"))
    kubernetes = _pinned("kubernetes", "k8s.io/kubernetes")
    helm = (_pinned("helm", "helm.sh/helm/v4"), _pinned("helm3", "helm.sh/helm/v3"))
    rows = [
        ("Kubernetes", f"{oldest} and newer", kubernetes),
        ("Helm", "4, and 3", " and ".join(helm)),
        ("PgBouncer", f"{parameters.VERSION}, which is in the pool's image", parameters.VERSION),
        ("PostgreSQL", "14 and newer", postgresql),
    ]
    return table(("program", "supported", "tested"), rows)


def _pinned(folder: str, module: str) -> str:
    """The version of a Go module. ValueError names the file that does not require it."""
    file = GO / folder / "go.mod"
    found = re.search(rf"^require {re.escape(module)} v(\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise ValueError(f"{file.relative_to(ROOT)} requires no {module}: correct tests/reference/support.py.")
    return found[1]
