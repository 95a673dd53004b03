"""More PostgreSQL servers in a test's namespace: independent ones, a streaming standby, and what their logs say."""

import copy
import json
from datetime import datetime

import yaml
from tests.cluster import operators
from tests.cluster.pools import Namespace, Object
from tests.cluster.server import sql
from tests.localcluster.deploy import POSTGRES

READY = "database system is ready to accept connections"


def manifests(here: Namespace, name: str) -> tuple[Object, Object]:
    """Service and Deployment like the first server's, under another name."""
    text = POSTGRES.read_text(encoding="utf-8").replace("POSTGRES_IMAGE", here.site.reference("postgres"))
    bodies = {body["kind"]: body for body in yaml.safe_load_all(text)}
    service, deployment = copy.deepcopy(bodies["Service"]), copy.deepcopy(bodies["Deployment"])
    service["metadata"]["name"] = deployment["metadata"]["name"] = name
    service["spec"]["selector"] = {"app": name}
    spec = deployment["spec"]
    spec["selector"]["matchLabels"] = spec["template"]["metadata"]["labels"] = {"app": name}
    return service, deployment


def start(here: Namespace, name: str, *arguments: str, certificate: str = "") -> None:
    """A second server like the first, with more arguments, and its certificate from a Secret; until it answers."""
    service, deployment = manifests(here, name)
    spec = deployment["spec"]["template"]["spec"]
    container = spec["containers"][0]
    container["args"] += arguments
    if certificate:
        container["volumeMounts"] += [{"name": "tls", "mountPath": "/etc/postgres/tls", "readOnly": True}]
        spec["volumes"] += [{"name": "tls", "secret": {"secretName": certificate}}]
    for body in (service, deployment):
        here.apply(body)
    here.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s")


def restart(here: Namespace, max_connections: int, name: str = "postgres") -> None:
    """The server with room for so many, and without its data; until it answers."""
    argument = {"op": "replace", "path": "/spec/template/spec/containers/0/args/1"}
    patch = json.dumps([{**argument, "value": f"max_connections={max_connections}"}])
    here.kubectl("patch", "deployment", name, "--type=json", "--patch", patch)
    here.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s")


def standby(here: Namespace, name: str, of: str = "postgres") -> None:
    """A server that streams from the first one; until it answers."""
    allow = "echo host replication all all scram-sha-256 >> $PGDATA/pg_hba.conf"
    here.kubectl("exec", f"deployment/{of}", "--", "sh", "-c", allow)
    sql(here, "SELECT pg_reload_conf()", f"deployment/{of}")
    service, deployment = manifests(here, name)
    spec = deployment["spec"]["template"]["spec"]
    serving = spec["containers"][0]
    copying = {key: serving[key] for key in ("image", "imagePullPolicy", "securityContext", "volumeMounts", "env")}
    # The name of the pod and not of the Service, which may lead elsewhere soon.
    source = pod(here, of)["status"]["podIP"]
    script = (
        f"PGPASSWORD=$(cat $POSTGRES_PASSWORD_FILE) pg_basebackup -h {source} -U postgres -D $PGDATA -R -c fast "
        "&& touch $PGDATA/ready"
    )
    spec["initContainers"] = [{**copying, "name": "copy", "command": ["sh", "-c", script]}]
    for body in (service, deployment):
        here.apply(body)
    here.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s")


def point(here: Namespace, service: str, server: str) -> None:
    """Let a Service lead to another server."""
    patch = json.dumps({"spec": {"selector": {"app": server}}})
    here.kubectl("patch", "service", service, "--type=merge", "--patch", patch)


def pod(here: Namespace, server: str) -> Object:
    """The server's pod."""
    found = [each for each in here.all("pods", f"app={server}") if "deletionTimestamp" not in each["metadata"]]
    return found[0]


def kill(here: Namespace, server: str) -> int:
    """SIGKILL every process of the server at once; how many. Its container starts again with its data."""
    return operators.kill_process([pod(here, server)["metadata"]["uid"]], "postgres")


def ready_at(here: Namespace, server: str) -> float:
    """When the server's present container last said that it takes connections (Unix seconds); 0 before it has."""
    lines = here.kubectl("logs", pod(here, server)["metadata"]["name"], "--timestamps", "--tail=-1").splitlines()
    stamp = next((line.split()[0] for line in reversed(lines) if READY in line), "")
    if not stamp:
        return 0.0
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction[:6]}+00:00").timestamp()


def first_row_after(here: Namespace, moment: float, server: str = "deployment/postgres") -> float | None:
    """When the first row of load was written after that moment (Unix seconds)."""
    query = f"SELECT extract(epoch FROM min(at)) FROM load WHERE at > to_timestamp({moment})"
    found = sql(here, query, server)
    return float(found) if found else None


def now(here: Namespace, server: str = "deployment/postgres") -> float:
    """The server's clock (Unix seconds)."""
    return float(sql(here, "SELECT extract(epoch FROM clock_timestamp())", server))
