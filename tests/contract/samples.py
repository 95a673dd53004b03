"""The manifests in operator/docs/samples, and a strict reading of Kubernetes' own kinds by the models of its client."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pydantic
import yaml
from kubernetes.client import models
from tests import documents

from pgbouncer_operator import naming

FOLDER = documents.DOCS / "samples"
FILES = sorted(FOLDER.glob("*.yaml"))
OURS = (naming.KIND, naming.SERVER_KIND)
# Kinds of programs that our tests do not install, and the program of each. Their fields are compared by hand.
FOREIGN = {
    ("cert-manager.io/v1", "Issuer"): "cert-manager",
    ("cert-manager.io/v1", "Certificate"): "cert-manager",
    ("argoproj.io/v1alpha1", "Application"): "Argo CD",
    ("source.toolkit.fluxcd.io/v1", "GitRepository"): "Flux",
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"): "Flux",
}
# Kubernetes' own kinds in the samples, and the model of each.
BUILTIN = {
    ("v1", "Secret"): "V1Secret",
    ("v1", "ConfigMap"): "V1ConfigMap",
    ("apps/v1", "Deployment"): "V1Deployment",
    ("batch/v1", "Job"): "V1Job",
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "V2HorizontalPodAutoscaler",
    ("networking.k8s.io/v1", "NetworkPolicy"): "V1NetworkPolicy",
}

Object = dict[str, Any]


@cache
def objects(path: Path) -> tuple[Object, ...]:
    return tuple(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def every() -> Iterator[tuple[Path, Object]]:
    """Each object with its file."""
    for path in FILES:
        for body in objects(path):
            yield path, body


def kind(body: Object) -> tuple[str, str]:
    return body["apiVersion"], body["kind"]


def faults(body: Object) -> list[str]:
    """What the model of one of Kubernetes' own kinds does not accept: unknown, missing and mistyped fields."""
    try:
        read = getattr(models, BUILTIN[kind(body)]).model_validate(body)
    except pydantic.ValidationError as refused:
        return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in refused.errors()]
    written = read.model_dump(by_alias=True, exclude_unset=True)
    return [] if written == body else ["a field has the name that it has in Python"]  # which the models read, too
