"""A Pooler of CloudNativePG as a ConnectionPool. Pure.

https://cloudnative-pg.io/documentation/current/connection_pooling
"""

from collections.abc import Mapping
from typing import Any

from pgbouncer_operator.conversion import databases, settings
from pgbouncer_operator.conversion.ini_file import IniFile, Line
from pgbouncer_operator.conversion.pgbouncer_ini import ordered
from pgbouncer_operator.conversion.result import Body, Conversion, pool

API = "postgresql.cnpg.io/"
KIND = "Pooler"
# The database, its owner and the owner's Secret that CloudNativePG makes for a cluster by default.
DEFAULT = "app"
_LEFT_OUT = {
    "spec.deploymentStrategy": "is left out: the operator replaces pods one after the other.",
    "spec.monitoring": "is left out: the chart's podMonitor scrapes all pools.",
    "spec.pgbouncer.authQuery": "is left out: see authQuery in the documentation, which needs a function of its own.",
    "spec.pgbouncer.authQuerySecret": "is left out: see authQuery in the documentation.",
    "spec.pgbouncer.clientCASecret": "is left out: certificates of clients are not checked.",
    "spec.pgbouncer.image": "is left out: the chart names the image of all pools.",
    "spec.pgbouncer.paused": "is left out: a pause of a pool ends by itself; see spec.traffic.",
    "spec.pgbouncer.pg_hba": "is left out: a NetworkPolicy says who may connect.",
    "spec.pgbouncer.serverTLSSecret": "is left out: pods log in with a password, not with a certificate.",
    "spec.serviceAccountName": "is left out: see spec.pod.serviceAccountName.",
}
_TYPES = {
    "metadata.name": str,
    "spec.cluster.name": str,
    "spec.type": str,
    "spec.instances": int,
    "spec.pgbouncer": dict,
    "spec.pgbouncer.parameters": dict,
    "spec.pgbouncer.serverCASecret": dict,
    "spec.pgbouncer.clientTLSSecret": dict,
    "spec.serviceTemplate": dict,
    "spec.serviceTemplate.metadata": dict,
    "spec.serviceTemplate.spec": dict,
    "spec.template": dict,
    "spec.template.metadata": dict,
    "spec.template.spec": dict,
}
_OPTIONAL = _TYPES.keys() - {"metadata.name", "spec.cluster.name"}
_OF_SERVICE = {"metadata.labels": "labels", "metadata.annotations": "annotations"}


def fault(body: Mapping[str, Any]) -> str:
    """Why the object is no Pooler that can be converted; empty if it is one."""
    if body.get("kind") != KIND or not str(body.get("apiVersion")).startswith(API):
        return f"It is no {KIND} of {API}v1: give what `kubectl get pooler NAME -o yaml` prints."
    for path, kind in _TYPES.items():
        value = _at(body, path)
        if not isinstance(value, kind) and not (value is None and path in _OPTIONAL):
            return f"{path} is missing or of another type: this is no whole {KIND}."
    return ""


def convert(body: Mapping[str, Any]) -> Conversion:
    """The pool, and what cannot be kept. body: a Pooler without `fault`."""
    result, spec = Conversion(), body["spec"]
    cluster, kind = spec["cluster"]["name"], spec.get("type", "rw")
    bouncer, instances = spec.get("pgbouncer") or {}, spec.get("instances", 1)
    ini = _ini(bouncer)
    ca = (bouncer.get("serverCASecret") or {}).get("name", f"{cluster}-ca")
    converted: Body = {
        "backend": {"host": f"{cluster}-{kind}", "tls": {"ca": {"secretKeyRef": {"name": ca, "key": "ca.crt"}}}},
        "databases": [{"name": DEFAULT}],
        "users": [{"name": DEFAULT, "secretRef": {"name": f"{cluster}-{DEFAULT}"}}],
        "replicas": instances,
    }
    result.remark("spec.cluster", f"A Pooler serves every database and login; this pool serves {DEFAULT}. List yours.")
    if kind != "rw":
        result.remark("spec.type", f"{kind} leads to servers that are read-only: BackendReachable says so.")
    settings.convert(ini.settings, converted, result)
    if name := (bouncer.get("clientTLSSecret") or {}).get("name"):
        converted.setdefault("clients", {})["tls"] = {"secretName": name}
    most = min(databases.connections(ini, [Line("", DEFAULT, "", {})], 1) * max(1, instances), databases.MOST)
    converted["serverConnections"] = {"max": most}
    message = f"The limits of {instances} instances become serverConnections.max {most}, for all pods together: compare"
    result.remark("spec.pgbouncer.parameters", f"{message} it with what the server accepts.")
    _service(spec, converted, result)
    _left_out(spec, result)
    result.pools.append(pool(body["metadata"]["name"], body["metadata"].get("namespace"), ordered(converted)))
    return result


def _at(body: Mapping[str, Any], path: str) -> Any:
    """The value at a path with dots; None if there is none."""
    value: Any = body
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _ini(bouncer: Mapping[str, Any]) -> IniFile:
    """The Pooler's settings as those of a file."""
    found = {"pool_mode": bouncer.get("poolMode", "session"), **(bouncer.get("parameters") or {})}
    lines = [Line(f"spec.pgbouncer.parameters.{name}", name, str(value), {}) for name, value in found.items()]
    return IniFile((), (), (), tuple(lines))


def _service(spec: Mapping[str, Any], converted: Body, result: Conversion) -> None:
    """Labels and annotations of the Service. Everything else is a remark."""
    template = spec.get("serviceTemplate") or {}
    for path, value in _leaves(template):
        field = _OF_SERVICE.get(path)
        if field and value:
            converted.setdefault("service", {})[field] = value
        elif not field:
            result.remark(f"spec.serviceTemplate.{path}", "is left out: see spec.service.")


def _left_out(spec: Mapping[str, Any], result: Conversion) -> None:
    present = {f"spec.{name}" for name in spec} | {f"spec.pgbouncer.{name}" for name in spec.get("pgbouncer") or {}}
    for path in sorted(present & _LEFT_OUT.keys()):
        result.remark(path, _LEFT_OUT[path])
    for path, _ in _leaves(spec.get("template") or {}):
        result.remark(f"spec.template.{path}", "is left out: see spec.pod.")


def _leaves(template: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The fields below metadata and spec, by their path."""
    parts = ((part, template.get(part) or {}) for part in ("metadata", "spec"))
    return [(f"{part}.{name}", value) for part, fields in parts for name, value in fields.items()]
