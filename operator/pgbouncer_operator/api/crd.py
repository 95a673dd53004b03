"""The CustomResourceDefinition of ConnectionPool, and the files of `crds/`.

Pure and deterministic: the same models and the same catalogue of PgBouncer's settings give the same bytes.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pgbouncer_operator.api import crd_server, parameters
from pgbouncer_operator.api.conditions import unseen
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.api.definition import READY, Column, Definition, to_yaml
from pgbouncer_operator.api.model import VALIDATIONS
from pgbouncer_operator.api.schema import Schema, structural
from pgbouncer_operator.api.spec import PoolSpec
from pgbouncer_operator.api.status import PoolStatus
from pgbouncer_operator.naming import GROUP, KIND, PLURAL, SHORT_NAMES, SINGULAR
from pgbouncer_operator.pgbouncer.parameter import Parameter
from pgbouncer_operator.pgbouncer.parameters import CATALOGUE

FILE = f"{PLURAL}.{GROUP}.yaml"
_COSTLY = ".matches("

_COLUMNS = (
    Column("Ready", "string", f"{READY}.status"),
    Column("Reason", "string", f"{READY}.reason"),
    Column("Pods", "string", ".status.summary.pods"),
    Column("Connections", "string", ".status.summary.connections"),
    Column("Clients", "integer", ".status.clients.connected"),
    Column("Waiting", "integer", ".status.serverConnections.waiting"),
    Column("Age", "date", ".metadata.creationTimestamp"),
    Column("Mode", "string", ".spec.poolMode", wide=True),
    Column("Endpoint", "string", ".status.endpoint", wide=True),
    Column("Image", "string", ".status.image", wide=True),
)


def render(catalogue: Iterable[Parameter] = CATALOGUE) -> dict[str, Any]:
    """The CRD as a JSON value. catalogue: every setting of PgBouncer, in any order."""
    root, status = structural(ConnectionPool), structural(PoolStatus, defaults=False)
    status["default"] = {"conditions": [unseen()]}
    return Definition(
        kind=KIND,
        plural=PLURAL,
        singular=SINGULAR,
        short_names=SHORT_NAMES,
        columns=_COLUMNS,
        description=root["description"],
        spec=_spec(catalogue),
        status=status,
        rules=tuple(root[VALIDATIONS]),
        # Controllers of the Service Binding specification find kinds with `status.binding.name` by this label.
        labels={"servicebinding.io/provisioned-service": "true"},
        scale={
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    ).render()


def without_costly_rules(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The CRD for Kubernetes 1.33: without the rules for numbers and lists in `spec.parameters`.

    Its API server takes a value that is an integer or a string for as long as a request may be, whatever its maxLength,
    and refuses rules that match such values as too costly; 1.34 counts the maxLength. The operator checks the same
    rules, and says in `Stalled` what is wrong.
    https://github.com/kubernetes/kubernetes/blob/v1.33.0/staging/src/k8s.io/apiserver/pkg/cel/common/schemas.go
    """
    found = copy.deepcopy(dict(definition))
    root = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    node: Schema = root["properties"]["spec"]["properties"]["parameters"]
    node[VALIDATIONS] = [rule for rule in node[VALIDATIONS] if _COSTLY not in rule["rule"]]
    return found


def files() -> dict[str, str]:
    """Every file of `crds/` by name: the definitions, and the list that `kubectl apply -k` needs."""
    definitions = {FILE: render(), crd_server.FILE: crd_server.render()}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(definitions),
    }
    return {name: to_yaml(body) for name, body in (definitions | {"kustomization.yaml": kustomization}).items()}


def _spec(catalogue: Iterable[Parameter]) -> Schema:
    spec = structural(PoolSpec)
    spec["description"] = "What the pool should be. See each field for its effect, default and how a change is applied."
    settings = [_without_unknown_field(setting, spec) for setting in catalogue]
    spec["properties"]["parameters"][VALIDATIONS] = [rule.validation() for rule in parameters.rules(settings)]
    return spec


def _without_unknown_field(setting: Parameter, spec: Schema) -> Parameter:
    """The setting without its `field` if the spec has no such field: no message may name a field that is not there."""
    node: Any = spec
    for part in setting.field.split(".") if setting.field else ():
        node = node.get("properties", {}).get(part.removesuffix("[]"), {})
        node = node.get("items", {}) if part.endswith("[]") else node
    return setting if node else replace(setting, field=None)
