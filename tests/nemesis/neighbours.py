"""Events by other tenants and by clients of no good will. Each function is one kind of event."""

import base64
import contextlib
import json
import random
from collections.abc import Iterator
from typing import Any

from tests.cluster import budgets
from tests.cluster.pools import Namespace, Object
from tests.localcluster.deploy import NAMESPACE_MANIFEST
from tests.localcluster.problem import Problem
from tests.localcluster.waiting import let_pass, until
from tests.nemesis.promises import Promise
from tests.nemesis.scene import BUDGET, POOLS, Scene

from pgbouncer_operator import naming

SILENT, SILENT_SECONDS = 300, 8
IDLE, IDLE_SECONDS = 1100, 10
LASTING = 10.0  # seconds that a forged document stays
FORGED, FORGED_SECONDS = 10_000, 10.0
FAR_FUTURE = 4_102_444_800  # Unix seconds
NEIGHBOUR = "nemesis-neighbour"
TWIN, TWIN_POOL, TWIN_CLIENTS, TWIN_SECONDS = "twin", "twins", 14, 6

# Programs of the bystander: host, number, seconds.
SILENCE = f"""
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
host, number, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
opened = []
for _ in range(number):
    try:
        opened.append(socket.create_connection((host, {naming.PGBOUNCER_PORT}), 5))
    except OSError as error:
        pass
over = time.monotonic() + seconds
while time.monotonic() < over:
    time.sleep(0.1)
print(len(opened))
"""
CLIENTS = """
import asyncio, json, os, resource, sys
import psycopg
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
host, number, seconds, statement, url = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[5]
gate, errors, open_ones = asyncio.Semaphore(40), [], []
async def client():
    try:
        async with gate:
            connection = await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=30)
        open_ones.append(connection)
        if statement:
            await connection.execute(statement)
    except (psycopg.Error, OSError) as error:
        errors.append(" ".join(str(error).split())[-120:])
async def everybody():
    await asyncio.gather(*(client() for _ in range(number)))
    await asyncio.sleep(seconds)
    print(json.dumps({"connected": len(open_ones), "errors": len(errors), "first": errors[:1]}))
asyncio.run(everybody())
"""


def silent_connections(scene: Scene, chance: random.Random) -> str:
    """Connections that say nothing."""
    pool = scene.pool(chance)
    opened = scene.ask(SILENCE, str(SILENT), str(SILENT_SECONDS), host=pool)
    return f"{opened} of {SILENT} to {pool} for {SILENT_SECONDS} s"


def idle_clients(scene: Scene, chance: random.Random) -> str:
    """More clients than a container may open files by default, in the pool that has the fewest pods."""
    pool = POOLS[-1]
    text, refused = _clients(scene, pool, IDLE, IDLE_SECONDS)
    if refused:
        scene.complain(Promise.REFUSED, refused, pool, text)
    return text


def _clients(scene: Scene, pool: str, number: int, seconds: float, statement: str = "") -> tuple[str, int]:
    """Clients of a pool that run one statement and stay for some seconds: words, and how many saw an error."""
    url = _url(scene.here, pool)
    said = scene.ask(CLIENTS, str(number), str(seconds), statement, url, host=pool, seconds=120)
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    first = f", {found['errors']} errors: {found['first'][0]}" if found["errors"] else ""
    return f"{found['connected']} of {number} clients of {pool}{first}", found["errors"]


def _url(here: Namespace, pool: str) -> str:
    return base64.b64decode(here.get("secret", naming.connection_secret(pool))["data"]["DATABASE_URL"]).decode()


def forge_ledger(scene: Scene, chance: random.Random) -> str:
    """Somebody who may write ConfigMaps charges a pod that does not exist to a pool, by an allocation yet to come."""
    pool = scene.pool(chance)
    name = naming.grants_config_map(pool)
    ledger = json.loads(scene.here.get("configmap", name)["data"][naming.GRANTS_KEY])
    grant = {"cap": FORGED, "high": FORGED, "seq": ledger["seq"], "gone": FAR_FUTURE}
    ledger["pods"][f"forged-{next(scene.turns)}"] = grant
    ledger["allocation"] = ledger.get("allocation", 0) + FORGED
    patch = json.dumps({"data": {naming.GRANTS_KEY: json.dumps(ledger)}})
    scene.here.kubectl("patch", "configmap", name, "--type=merge", "--patch", patch)
    let_pass(FORGED_SECONDS)
    try:
        until(lambda: _charged(scene), FORGED_SECONDS, 0.25)
    except Problem as problem:
        scene.complain(Promise.READY, 1, budgets.SERVER, str(problem))
    return pool


def _charged(scene: Scene) -> str:
    """Which pools the server charges with more than its whole budget, or "" when it charges none so."""
    entries = budgets.shared(scene.here).get("allocations", ())
    charged = {each["pool"]: each["high"] for each in entries if each["high"] > scene.budget.now}
    return f"a true charge instead of {charged}" if charged or len(entries) < len(POOLS) else ""


def forge_foreign_ledger(scene: Scene, chance: random.Random) -> str:
    """A ledger of a pool that does not exist, at our server."""
    name = f"ghost-{next(scene.turns)}"
    grant = {"cap": FORGED, "high": FORGED, "seq": 1}
    ledger = {"protocol": 1, "seq": 1, "static": FORGED, "pods": {"forged": grant}}
    ledger |= {"server": f"{scene.here.name}/{budgets.SERVER}", "allocation": 1}
    data = {naming.GRANTS_KEY: json.dumps(ledger)}
    metadata = {"name": naming.grants_config_map(name), "labels": naming.labels(name) | {naming.LABEL_POOL: name}}
    with _exists(scene.here, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}):
        let_pass(LASTING)
    return name


def second_server(scene: Scene, chance: random.Random) -> str:
    """A second PostgresServer with the same host, and a pool on it whose clients want all that it gives."""
    server = budgets.server(BUDGET)
    server["metadata"]["name"] = TWIN
    pool = budgets.member(TWIN_POOL, TWIN_CLIENTS, replicas=1)
    pool["spec"]["backend"]["serverRef"]["name"] = TWIN
    with _exists(scene.here, server), _exists(scene.here, pool):
        try:
            scene.here.wait_condition(TWIN_POOL, "Ready", "True", seconds=15)
        except Problem:
            return f"{TWIN_POOL} is not served"
        text, _ = _clients(scene, TWIN_POOL, TWIN_CLIENTS, 0, f"SELECT pg_sleep({TWIN_SECONDS})")
    return text


def foreign_server(scene: Scene, chance: random.Random) -> str:
    """A PostgresServer of another namespace names our host, with a small budget."""
    site = scene.here.site
    site.kubectl("apply", "-f", "-", text=NAMESPACE_MANIFEST.replace("NAME", NEIGHBOUR))
    server = budgets.server(5)
    server["spec"]["host"] = f"postgres.{scene.here.name}.svc"
    with _exists(Namespace(site, NEIGHBOUR), server):
        pool = scene.pool(chance)
        scene.here.kubectl("delete", "pod", scene.pod(chance, pool)["metadata"]["name"], "--wait=false")
        let_pass(LASTING)
    return f"and a pod of {pool} was deleted meanwhile"


@contextlib.contextmanager
def _exists(here: Namespace, body: Object) -> Iterator[None]:
    """The object exists while the block runs."""
    here.apply(body)
    try:
        yield
    finally:
        here.kubectl("delete", body["kind"], body["metadata"]["name"], "--wait=false", "--ignore-not-found")
