"""The kinds the server serves and what is peculiar to each: defaults, validation, generation, status."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.simulated.apiserver.status import Refused

from pgbouncer_operator import naming
from pgbouncer_operator.kube import resources
from pgbouncer_operator.kube.resources import Resource

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A served kind. `generation`: counts changes of the spec; `status`: has the subresource."""

    resource: Resource
    generation: bool = False
    status: bool = False
    short_names: tuple[str, ...] = ()

    @property
    def custom(self) -> bool:
        return self.resource.api_version == naming.API_VERSION


KINDS = (
    Kind(resources.CONNECTION_POOLS, generation=True, status=True, short_names=naming.SHORT_NAMES),
    Kind(resources.POSTGRES_SERVERS, generation=True, status=True),
    Kind(resources.DEPLOYMENTS, generation=True, status=True, short_names=("deploy",)),
    Kind(resources.STATEFUL_SETS, generation=True, status=True, short_names=("sts",)),
    Kind(resources.REPLICA_SETS, generation=True, status=True, short_names=("rs",)),
    Kind(resources.HORIZONTAL_POD_AUTOSCALERS, generation=True, status=True, short_names=("hpa",)),
    Kind(resources.POD_DISRUPTION_BUDGETS, generation=True, status=True, short_names=("pdb",)),
    Kind(resources.CONFIG_MAPS, short_names=("cm",)),
    Kind(resources.SECRETS),
    Kind(resources.SERVICES, status=True, short_names=("svc",)),
    Kind(resources.PODS, status=True, short_names=("po",)),
    Kind(resources.EVENTS, short_names=("ev",)),
    Kind(resources.NAMESPACES, status=True, short_names=("ns",)),
    Kind(resources.ENDPOINT_SLICES),
    Kind(resources.LEASES),
    Kind(resources.CUSTOM_RESOURCE_DEFINITIONS, generation=True, status=True, short_names=("crd",)),
)

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


def default(kind: Kind, body: Object) -> None:
    """Fill in what the API server fills in, so that nobody gets away with comparing whole objects."""
    match kind.resource.kind:
        case "Deployment":
            _default_deployment(body.setdefault("spec", {}))
        case "Service":
            _default_service(body.setdefault("spec", {}))
        case "Pod":
            _default_pod(body.setdefault("spec", {}))
        case "Secret":
            _default_secret(body)
        case _:
            pass


def validate(kind: Kind, body: Object) -> None:
    """Raises Refused for what the API server would never store."""
    name, label = body["metadata"].get("name") or "", kind.resource.kind
    pattern = LABEL if label == "Service" else NAME
    if not pattern.fullmatch(name):
        raise Refused(422, f'{label} "{name}" is invalid: metadata.name: Invalid value')
    if label in ("ConfigMap", "Secret"):
        for value in (body.get("data") or {}).values():
            if not isinstance(value, str):
                raise Refused(400, f"{label} in version v1 cannot be handled: data holds what is no string")
        if label == "ConfigMap" and len(str(body.get("data"))) > 1 << 20:
            raise Refused(422, f'ConfigMap "{name}" is invalid: []: Too long: may not be more than 1048576 bytes')
    if label == "Deployment":
        spec = body["spec"]
        wanted = (spec.get("selector") or {}).get("matchLabels") or {}
        has = spec["template"].get("metadata", {}).get("labels") or {}
        if not wanted or any(has.get(key) != value for key, value in wanted.items()):
            raise Refused(422, f'Deployment "{name}" is invalid: `selector` does not match template `labels`')
    for owner in body["metadata"].get("ownerReferences") or ():
        if not all(owner.get(field) for field in ("apiVersion", "kind", "name", "uid")):
            raise Refused(422, f'{label} "{name}" is invalid: metadata.ownerReferences: a field is missing')


def validate_change(kind: Kind, before: Object, after: Object) -> None:
    """Raises Refused for a change of what is immutable."""
    name, label = before["metadata"]["name"], kind.resource.kind
    if label == "Deployment" and before["spec"].get("selector") != after["spec"].get("selector"):
        raise Refused(422, f'Deployment.apps "{name}" is invalid: spec.selector: Invalid value: field is immutable')
    if label == "Pod" and before["spec"] != after["spec"]:
        raise Refused(422, f'Pod "{name}" is invalid: spec: Forbidden: pod updates may not change fields of spec')
    if before.get("immutable") and (before.get("data"), True) != (after.get("data"), after.get("immutable")):
        raise Refused(422, f'{label} "{name}" is invalid: data: Forbidden: field is immutable when `immutable` is set')
    if label == "Secret" and before.get("type") != after.get("type"):
        raise Refused(422, f'Secret "{name}" is invalid: type: Invalid value: field is immutable')


def _default_secret(body: Object) -> None:
    body.setdefault("type", "Opaque")
    for key, value in (body.pop("stringData", None) or {}).items():
        body.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()


def _default_deployment(spec: Object) -> None:
    spec.setdefault("replicas", 1)
    spec.setdefault("progressDeadlineSeconds", 600)
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxSurge", "25%")
        rolling.setdefault("maxUnavailable", "25%")
    _default_pod(spec.setdefault("template", {}).setdefault("spec", {}))


def _default_pod(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    if account := spec.get("serviceAccountName") or spec.get("serviceAccount"):  # each restores the other
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in _containers(spec):
        container.setdefault("imagePullPolicy", "IfNotPresent")
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        for port in container.get("ports") or ():
            port.setdefault("protocol", "TCP")
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            if container.get(probe):
                _default_probe(container[probe])
    for volume in spec.get("volumes") or ():
        for source in ("secret", "configMap", "projected", "downwardAPI"):
            if source in volume:
                volume[source].setdefault("defaultMode", 420)


def _default_probe(probe: Object) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        probe.setdefault(field, value)


def _default_service(spec: Object) -> None:
    spec.setdefault("type", "ClusterIP")
    if spec.setdefault("sessionAffinity", "None") == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 10800}})
    else:
        spec.pop("sessionAffinityConfig", None)
    if spec["type"] != "ClusterIP":
        spec.setdefault("externalTrafficPolicy", "Cluster")
        for port in spec.get("ports") or ():
            port.setdefault("nodePort", 30000)
    # What a Service has, it keeps when nobody asks for it any more.
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("clusterIP", "198.18.255.1")
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    spec.setdefault("internalTrafficPolicy", "Cluster")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])


def _containers(spec: Object) -> Iterator[Object]:
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()
