"""Everything that must not need the operator: it is away, and passwords, authorities and pods change all the same.

kubelet by itself brings changed Secrets and ConfigMaps after a minute or so; that is waited for once.
"""

import json
from collections.abc import Callable, Iterator

import pytest
from tests.cluster import console, operators, programs, servers, tls
from tests.cluster.pools import USER, Namespace, Object, pool
from tests.cluster.server import sql
from tests.localcluster import traffic

from pgbouncer_operator import naming

POOL = "alone"
PODS, MOST = 2, 9
DRAIN = {"timeoutSeconds": 10, "transactionSeconds": 10}
LOAD = ("--clients", "12", "--reconnecting", "4", "--lifetime", "4", "--think", "0.05")
REFRESH_SECONDS = 240
SECURE = "deployment/secure"
HOLDS = """
import pathlib, sys
files = [file for file in pathlib.Path("/run/pgbouncer").rglob("*") if file.is_file()]
print(any(sys.argv[1] in file.read_text(errors="replace") for file in files))
"""


@pytest.fixture(scope="module")
def authorities() -> tuple[tls.Authority, tls.Authority]:
    return tls.authority("first"), tls.authority("second")


@pytest.fixture(scope="module")
def ready(here: Namespace, authorities: tuple[tls.Authority, tls.Authority]) -> Namespace:
    first, _ = authorities
    here.apply(tls.secret("server-tls", tls.sign(first, "secure"), first.pem))
    servers.start(here, "secure", certificate="server-tls")
    sql(here, "CREATE ROLE spare LOGIN PASSWORD 'spare-0'; GRANT ALL ON DATABASE shop TO spare", SECURE)
    password(here, "spare-0")
    here.apply(tls.config_map("server-ca", first.pem))
    ca = {"configMapKeyRef": {"name": "server-ca", "key": "ca.crt"}}
    spec = {
        "backend": {"host": "secure", "tls": {"mode": "verify-full", "ca": ca}},
        "users": [USER, {"name": "spare", "secretRef": {"name": "spare-db"}}],
        "connectionSecrets": [{"name": f"{POOL}-connection", "database": "shop", "user": "shop"}],
        "timeouts": {"serverLifetimeSeconds": 5},
    }
    here.apply(pool(POOL, MOST, replicas=PODS, drain=DRAIN, **spec))
    here.wait_ready(POOL)
    return here


def password(here: Namespace, value: str) -> None:
    body = {"stringData": {"username": "spare", "password": value}}
    here.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "spare-db"}, **body})


def evict(here: Namespace, pod: Object) -> None:
    """By the API that a node's drain uses, which asks the PodDisruptionBudget."""
    name = pod["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": here.name}}
    path = f"/api/v1/namespaces/{here.name}/pods/{name}/eviction"
    here.kubectl("create", "--raw", path, "-f", "-", text=json.dumps(body))


@pytest.fixture
def counted(ready: Namespace) -> Iterator[traffic.Census]:
    found = traffic.census(ready.site, ready.name, SECURE)
    yield found
    found.stop()


def test_passwords_authorities_and_pods_change_while_no_operator_runs(
    ready: Namespace,
    authorities: tuple[tls.Authority, tls.Authority],
    counted: traffic.Census,
    say: Callable[[str], None],
) -> None:
    first, second = authorities
    with programs.load(ready, f"{POOL}-connection", *LOAD) as running:
        with operators.absent(ready.site):
            old = ready.pods(POOL)[0]
            evict(ready, old)
            ready.wait(lambda: gone(ready, old) and ready.serving(POOL) == PODS, "a pod in its place", 180)
            newborn = max(ready.pods(POOL), key=lambda pod: pod["metadata"]["creationTimestamp"])
            static = state_cap(ready, newborn)
            sql(ready, "ALTER ROLE spare PASSWORD 'spare-1'", SECURE)
            password(ready, "spare-1")
            ready.apply(tls.config_map("server-ca", first.pem, second.pem))
            log_in(ready, "spare-1")
            ready.wait(lambda: everywhere(ready, second.pem), "the second authority in every pod", REFRESH_SECONDS)
            changed = replace_certificate(ready, tls.sign(second, "secure"))
            ready.wait(lambda: renewed(ready, changed) == PODS, "new sessions of every pod under the new certificate")
        ready.wait_ready(POOL)
        account, rows = programs.finish(ready, running, SECURE)
    say(
        f"no operator: a pod evicted, its successor began with {static} connections of {MOST}; a password and an "
        f"authority rotated; {account['failed'] + account['refused']} of {account['committed']} transactions failed; "
        f"PostgreSQL counted at most {counted.peak} of {MOST}"
    )
    assert static == MOST // (PODS + 1)
    assert not programs.trouble(account, rows)


def gone(here: Namespace, pod: Object) -> bool:
    uids = {each["metadata"]["uid"] for each in here.all("pods", f"{naming.LABEL_POOL}={POOL}")}
    return pod["metadata"]["uid"] not in uids


def state_cap(here: Namespace, pod: Object) -> int:
    return int(json.loads(here.state(pod))["cap"])


def log_in(here: Namespace, value: str) -> None:
    listening = console.logins(here, POOL)
    try:
        said = console.login(listening, True, REFRESH_SECONDS, user="spare", password=value, dbname="shop")
    finally:
        listening.stop()
    assert set(said.values()) == {""}, said


def everywhere(here: Namespace, pem: str) -> bool:
    """Whether every agent has taken the authority over."""
    line = pem.splitlines()[1]
    program = ("python3", "-c", HOLDS, line)
    names = [pod["metadata"]["name"] for pod in here.pods(POOL)]
    found = [here.kubectl("exec", name, "-c", naming.CONTAINER_AGENT, "--", *program).strip() for name in names]
    return found == ["True"] * PODS


def replace_certificate(here: Namespace, signed: tls.Signed) -> float:
    """Give the running server another certificate; its clock then."""
    for name, text in (("server.crt", signed.certificate), ("server.key", signed.key)):
        here.kubectl("exec", "-i", SECURE, "-c", "postgres", "--", "sh", "-c", f"cat > $PGDATA/{name}", text=text)
    sql(here, "SELECT pg_reload_conf()", SECURE)
    return servers.now(here, SECURE)


def renewed(here: Namespace, moment: float) -> int:
    """Pods with a session that began after the moment."""
    query = (
        "SELECT count(DISTINCT client_addr) FROM pg_stat_activity "
        f"WHERE usename = 'shop' AND backend_start > to_timestamp({moment + 1})"
    )
    return int(sql(here, query, SECURE))
