"""The HorizontalPodAutoscaler of the docs drives a pool by its scale subresource; the metrics it goes by are ours.

Kubernetes' own autoscaler decides, every 15 s. Pods come and go within the budget under load, and nobody fails.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import yaml
from tests import documents
from tests.cluster import programs, server, tls
from tests.cluster.audit import Audit
from tests.cluster.dialogue import Dialogue, dialogue, resting
from tests.cluster.pools import KIND, Namespace, Object, pool
from tests.localcluster import traffic
from tests.localcluster.waiting import until

from pgbouncer_operator import naming

METRICS, PORT = "metrics", 8443
API_SERVICE = "v1beta1.metrics.k8s.io"
AUTOSCALER = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
MOST = 5
PERIOD = 15.0  # seconds between two looks of the autoscaler
# Thousandths of a core that all pods use together, the pods that its 650 of each then ask for, those that fit.
STEPS = ((2400, 4, 4), (3800, 6, MOST), (1000, 2, 2))
LOAD = ("--clients", "20", "--think", "0.02", "--work", "0.02", "--lifetime", "3")
DRAIN = {"timeoutSeconds": 20, "transactionSeconds": 10}


def autoscaler() -> Object:
    """That of the docs, but it scales down at once: by default it waits for five minutes."""
    (text,) = (block.text for block in documents.blocks("yaml") if "kind: HorizontalPodAutoscaler" in block.text)
    body: Object = yaml.safe_load(text)
    body["spec"]["behavior"] = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    return body


POOL: str = autoscaler()["spec"]["scaleTargetRef"]["name"]


@pytest.fixture
def metrics(here: Namespace) -> Iterator[Dialogue]:
    """The metrics API of the cluster while the test runs: what is told to it is what the autoscaler sees."""
    signed = tls.sign(tls.authority("metrics"), f"{METRICS}.{here.name}.svc")
    here.apply(tls.secret(METRICS, signed, ""))
    ports = [{"port": 443, "targetPort": PORT}]
    spec: Object = {"selector": {"app": METRICS}, "ports": ports}
    here.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": METRICS}, "spec": spec})
    about = {
        "group": "metrics.k8s.io",
        "version": "v1beta1",
        "service": {"name": METRICS, "namespace": here.name, "port": 443},
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    kind = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
    files = ("--certificate", f"{traffic.BINDING}/tls.crt", "--key", f"{traffic.BINDING}/tls.key")
    command = ("python3", "-m", "load.metrics_api", "--port", str(PORT), *files)
    with dialogue(here, resting(here, METRICS, METRICS, app=METRICS), *command) as told:
        told.tell("{}")
        until(lambda: "" if told.heard else "the metrics API's first word", 30)
        here.site.kubectl(
            "apply", "-f", "-", text=json.dumps({**kind, "metadata": {"name": API_SERVICE}, "spec": about})
        )
        try:
            here.site.kubectl("wait", f"apiservice/{API_SERVICE}", "--for=condition=Available", "--timeout=60s")
            yield told
        finally:  # an API that does not answer would hold up the end of every namespace
            here.site.kubectl("delete", "apiservice", API_SERVICE, "--ignore-not-found")


def test_an_autoscaler_scales_a_pool_within_its_budget_and_nobody_argues(
    here: Namespace, metrics: Dialogue, audit: Audit, say: Callable[[str], None]
) -> None:
    server.sql(here, f"ALTER ROLE shop CONNECTION LIMIT {MOST}")
    here.apply(pool(POOL, MOST, drain=DRAIN))
    here.wait_ready(POOL)
    log, body, seconds = audit.now(), autoscaler(), []
    with ExitStack() as stack:
        counted = traffic.census(here.site, here.name)
        stack.callback(counted.stop)
        running = stack.enter_context(programs.load(here, f"{POOL}-connection", *LOAD))
        feed(here, metrics, STEPS[0][0])
        here.apply(body)
        stack.callback(here.kubectl, "delete", "hpa", body["metadata"]["name"], "--ignore-not-found")
        for used, replicas, fitting in STEPS:
            seconds.append(scaled(here, metrics, used, replicas, fitting))
            if fitting < replicas:
                said = here.wait_condition(POOL, "WithinBudget", "False", "ReplicasClamped")
                assert f"{replicas} wanted, {fitting} fit" in said
                undisputed(here, metrics, used, replicas)
        account = programs.settled(running)
    asked = [each for each in log.requests(AUTOSCALER) if each.writes and each.resource == f"{naming.PLURAL}/scale"]
    written = {each.resource for each in log.requests() if each.writes and each.resource.startswith(naming.PLURAL)}
    failed = account["failed"] + account["refused"]
    say(
        f"an autoscaler asked for {', '.join(str(replicas) for _, replicas, _ in STEPS)} pods, {MOST} fit: there after "
        f"{', '.join(f'{each:.0f}' for each in seconds)} s; {failed} of {account['committed']} transactions failed; "
        f"PostgreSQL counted at most {counted.peak} of {MOST} in {len(counted.counts)} counts"
    )
    assert [each.code for each in asked if each.code != 409] == [200] * len(STEPS)
    assert written <= {f"{naming.PLURAL}/status"}
    assert failed == 0, account["errors"]
    assert 0 < counted.peak <= MOST
    here.delete(POOL)


def feed(here: Namespace, metrics: Dialogue, used: int) -> None:
    """Tell that the pool's pods use so much together."""
    names = [pod["metadata"]["name"] for pod in here.pods(POOL)]
    metrics.tell(json.dumps({name: used // len(names) for name in names}))


def wanted(here: Namespace) -> int:
    return int(here.get(KIND, POOL)["spec"]["replicas"])


def scaled(here: Namespace, metrics: Dialogue, used: int, replicas: int, fitting: int) -> float:
    """Until the autoscaler has asked for so many pods and those that fit serve; in how many seconds."""
    began = time.monotonic()

    def there() -> bool:
        feed(here, metrics, used)
        return wanted(here) == replicas and here.serving(POOL) == fitting == len(here.pods(POOL))

    here.wait(there, f"{replicas} pods asked for, {fitting} serving", 180)
    seconds = time.monotonic() - began
    if fitting == replicas:
        here.wait_ready(POOL)
    return seconds


def undisputed(here: Namespace, metrics: Dialogue, used: int, replicas: int) -> None:
    """For longer than the autoscaler's period nobody asks for anything else."""
    over = time.monotonic() + PERIOD + 3

    def missing() -> str:
        feed(here, metrics, used)
        assert wanted(here) == replicas
        return "" if time.monotonic() > over else "a period of the autoscaler"

    until(missing, 2 * PERIOD, pause=1)
