"""Rights, profiles and secrets, judged by what really happened in this run. It runs last, and reads the whole run."""

import base64
import json
import time
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
from tests.cluster import operators
from tests.cluster.audit import Audit
from tests.cluster.pools import Namespace, pool
from tests.localcluster.deploy import NAMESPACE, RELEASE, Site
from tests.localcluster.problem import Problem

from pgbouncer_operator import naming

POOL, ELSEWHERE = "guarded", "default"
CANARY = "canary 7f3a/91+c0ffee@safe?"
ROLE = f"CREATE ROLE bird LOGIN PASSWORD '{CANARY}'; GRANT ALL ON DATABASE shop TO bird;"
TAMPERED = '{"spec": {"maxUnavailable": 2}}'
Right = tuple[str, str, str]  # group, resource, verb


@pytest.fixture(scope="module")
def guarded(here: Namespace) -> Iterator[Namespace]:
    """A pool whose user's password is the canary, through every stage of its life: made, changed, wrong, mended."""
    here.kubectl(
        "exec", "-i", "deployment/postgres", "--", "psql", "-h", "/tmp", "-U", "postgres", "-Xqd", "shop", text=ROLE
    )
    obstacle(here, "create")
    secret(here, CANARY + "-but-wrong")
    here.apply(pool(POOL, 8, users=[{"name": "bird", "secretRef": {"name": "bird-db"}}]))
    here.wait_condition(POOL, "Stalled", "True", "NameConflict")
    obstacle(here, "delete")
    here.wait_condition(POOL, "BackendReachable", "False", "BackendRefusedLogin")
    secret(here, CANARY)
    here.wait_ready(POOL)
    here.patch(POOL, timeouts={"queryWaitSeconds": 33}, pod={"labels": {"rolled": "yes"}})
    here.wait_ready(POOL)
    budget = naming.pod_disruption_budget(POOL)
    here.kubectl("patch", "pdb", budget, "--type=merge", "--patch", TAMPERED)
    here.wait(lambda: here.get("pdb", budget)["spec"]["maxUnavailable"] == 1, "the tampered budget is repaired")
    here.patch(POOL, service={"labels": {"seen": "yes"}}, replicas=1)
    here.patch(POOL, connectionSecrets=[{"name": "only", "database": "shop", "user": "bird", "endpoint": "Pool"}])
    here.wait(lambda: not here.of(POOL) & {("Secret", f"{POOL}-direct")}, "the direct Secret is gone")
    here.wait_ready(POOL)
    operators.kill(here.site, operators.wait_leader(here.site))  # another makes the lease anew and tells events again
    operators.forget_lease(here.site)
    here.patch(POOL, replicas=2)
    here.wait_ready(POOL)
    follow(here)
    yield here
    here.site.kubectl("delete", "-n", ELSEWHERE, naming.SERVER_KIND, "shared")


def follow(here: Namespace) -> None:
    """A pool that follows workloads of every kind, on a server of another namespace that knows its own by labels."""
    ours = {"matchLabels": {"kubernetes.io/metadata.name": here.name}}
    spec = {"host": "nowhere.invalid", "connections": {"max": 9}}
    consent = {"allowedNamespaces": {"from": "Selector", "selector": ours}}
    owner = {"apiVersion": naming.API_VERSION, "kind": naming.SERVER_KIND, "metadata": {"name": "shared"}}
    here.site.kubectl("apply", "-n", ELSEWHERE, "-f", "-", text=json.dumps({**owner, "spec": spec | consent}))
    asked = {"backend": {"serverRef": {"namespace": ELSEWHERE, "name": "shared"}}}
    workloads = {"clients": {"workloads": [{"selector": {"matchLabels": {"app": "nobody"}}}]}}
    here.apply(pool("member", 6, **asked, **workloads))
    here.wait_condition("member", "BackendReachable", "False", "HostNotResolved")


def obstacle(here: Namespace, verb: str) -> None:
    """A foreign object of the name of the pool's configuration."""
    here.kubectl(verb, "configmap", naming.config_map(POOL))


def secret(here: Namespace, password: str) -> None:
    body = {"stringData": {"username": "bird", "password": password}}
    here.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bird-db"}, **body})


def forms() -> set[bytes]:
    """The canary as it may appear: plain, quoted for a URL, in JSON, in base64 at each of three offsets."""
    plain = CANARY.encode()
    encoded = {base64.b64encode(b"x" * shift + plain)[4 if shift else 0 : -4] for shift in range(3)}
    texts = {CANARY, quote(CANARY, safe=""), quote(CANARY), quote_plus(CANARY), json.dumps(CANARY)[1:-1]}
    return {text.encode() for text in texts} | encoded


def leaks(content: bytes) -> list[bytes]:
    return [form for form in forms() if form in content]


def test_the_search_finds_the_canary_in_secrets_where_it_belongs(guarded: Namespace) -> None:
    assert leaks(guarded.kubectl("get", "secrets", "--output=yaml").encode())
    assert leaks(base64.b64encode(f"postgresql://bird:{CANARY}@x".encode()))


def test_no_object_but_secrets_holds_a_password(guarded: Namespace) -> None:
    kinds = guarded.kubectl("api-resources", "--verbs=list", "--output=name").split()
    assert "secrets" in kinds
    assert "connectionpools.pgbouncer-operator.io" in kinds
    for kind in kinds:
        if kind != "secrets":
            text = guarded.kubectl("get", kind, "--all-namespaces", "--output=yaml", "--show-managed-fields")
            assert not leaks(text.encode()), kind


def test_no_log_holds_a_password(guarded: Namespace) -> None:
    read = 0
    for namespace, selector in ((guarded.name, "pgbouncer-operator.io/pool"), (NAMESPACE, operators.SELECTOR)):
        pods = guarded.site.kubectl("get", "pods", "-n", namespace, f"--selector={selector}", "--output=name").split()
        for name in pods:
            log = guarded.site.kubectl("logs", "-n", namespace, name, "--all-containers", "--tail=-1")
            assert not leaks(log.encode()), name
            read += len(log)
    assert read > 1000


def test_no_process_shows_a_password_in_its_arguments_or_environment(guarded: Namespace) -> None:
    uids = [pod["metadata"]["uid"] for pod in (*guarded.pods(POOL), *operators.pods(guarded.site))]
    seen: set[str] = set()
    until = time.monotonic() + 5
    guarded.patch(POOL, timeouts={"queryWaitSeconds": 34})  # a configuration is proven by one more process meanwhile
    while time.monotonic() < until:
        for process in operators.processes(uids):
            try:
                shown = b"".join((process.directory / name).read_bytes() for name in ("cmdline", "environ"))
            except OSError:
                continue  # it ended meanwhile
            assert not leaks(shown), process.command
            seen.update(process.command)
    if not seen:
        pytest.skip("the node is not this machine, so its processes cannot be seen")
    assert {"/usr/sbin/pgbouncer", "pgbouncer_operator", "run", "agent"} <= seen
    guarded.wait_ready(POOL)


def test_every_pod_fits_the_restricted_profile(guarded: Namespace, site: Site) -> None:
    for namespace in (guarded.name, NAMESPACE):
        label = "pod-security.kubernetes.io/enforce=restricted"
        # The API server warns about every pod that the label would forbid.
        site.kubectl("label", "--warnings-as-errors", "--dry-run=server", "--overwrite", "namespace", namespace, label)
    with pytest.raises(Problem, match="violate"):
        site.kubectl(
            "run", "root", "-n", guarded.name, "--image=x", "--warnings-as-errors", "--dry-run=server", "--privileged"
        )


def granted(site: Site) -> Iterator[Right]:
    """What the chart's roles allow the operator."""
    roles = json.loads(
        site.kubectl("get", "clusterroles,roles", "-n", NAMESPACE, f"--selector={operators.SELECTOR}", "-o", "json")
    )
    names = {RELEASE, f"{RELEASE}-leader"}
    for role in roles["items"]:
        for rule in role["rules"] if role["metadata"]["name"] in names else ():
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    yield from ((group, resource, verb) for verb in rule["verbs"])


def test_nothing_is_granted_that_is_not_used_and_nothing_was_denied(guarded: Namespace, audit: Audit) -> None:
    requests = [each for each in audit.requests() if each.resource]
    assert [each for each in requests if each.denied] == []
    used = {(each.group, each.resource, each.verb) for each in requests}
    allowed = set(granted(guarded.site))
    assert len(allowed) > 20
    assert not any("*" in right for right in allowed)
    assert used <= allowed, f"used and not granted by the chart: {sorted(used - allowed)}"
    assert allowed <= used, f"granted and never used: {sorted(allowed - used)}"
