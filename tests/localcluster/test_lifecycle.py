"""The bare cluster's whole life on this machine: it takes the machine's one cluster, so it runs only where none runs.

.venv/bin/python -m pytest tests/localcluster
"""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.localcluster import (
    addresses,
    archive,
    backend,
    bare,
    cgroups,
    fixture,
    health,
    layout,
    mounts,
    namespaces,
    teardown,
    webserver,
)
from tests.localcluster.fixture import Cluster
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress
from tests.localcluster.waiting import until

pytestmark = pytest.mark.cluster

FILES = layout.from_environment()
COMMAND = [sys.executable, "-m", "tests.localcluster"]


def localcluster(*words: str) -> str:
    return subprocess.run([*COMMAND, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def shown(*command: str) -> set[str]:
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())


def host() -> dict[str, set[str]]:
    """What a cluster could leave on the host."""
    fixed = (
        "/var/lib/kubelet",
        "/var/lib/cni",
        "/var/log/containers",
        "/var/log/pods",
        "/run/containerd",
        "/run/netns",
    )
    return {
        "links": {line.split(":")[1] for line in shown("ip", "-oneline", "link")},
        "routes": shown("ip", "route"),
        "nftables": shown("nft", "list", "tables"),
        "settings": {f"{name}={Path('/proc/sys', name).read_text()}" for name in mounts.KERNEL_SETTINGS},
        "forwarding": {Path("/proc/sys/net/ipv4/ip_forward").read_text()},
        "directories": {directory for directory in fixed if Path(directory).exists()},
    }


@pytest.fixture(scope="module", autouse=True)
def _room_for_a_cluster() -> Iterator[None]:
    try:
        if backend.choose() != "bare":
            pytest.skip("this machine runs kind's cluster, which has its own tests")
    except Problem as impossible:
        pytest.skip(str(impossible))
    if namespaces.holders(FILES):
        pytest.skip("a cluster is running and this test would remove it: `make cluster-down` first")
    bare.build(FILES, Progress())
    teardown.down(FILES)
    yield
    teardown.down(FILES)


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return fixture.running()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of an image with a shell and a web server."""
    return webserver.image(tmp_path_factory.mktemp("image") / "image.tar")


@pytest.fixture(scope="module")
def web(cluster: Cluster, image: Path) -> str:
    """A Service before a restricted pod with a native sidecar; its namespace, which is its name too."""
    cluster.load([image])
    cluster.kubectl("apply", "-f", "-", input=json.dumps(webserver.manifests("web")))
    cluster.kubectl("--namespace", "web", "rollout", "status", "deployment/web", "--timeout=120s")
    return "web"


def in_pod(cluster: Cluster, namespace: str, *command: str) -> str:
    return cluster.kubectl("--namespace", namespace, "exec", "deployment/web", "--container", "web", "--", *command)


def test_the_host_reaches_a_service(cluster: Cluster, web: str) -> None:
    address = cluster.kubectl("--namespace", web, "get", "service", "web", "--output", "jsonpath={.spec.clusterIP}")

    assert fetched(address) == "hello\n"


def test_the_host_reaches_a_pod(cluster: Cluster, web: str) -> None:
    path = "jsonpath={.items[0].status.podIP}"
    address = cluster.kubectl("--namespace", web, "get", "pods", "--output", path)

    assert fetched(f"{address}:8080") == "hello\n"


def fetched(address: str) -> str:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://{address}/", timeout=10) as answer:
        return str(answer.read().decode())


def test_a_pod_reaches_its_own_service_by_name(cluster: Cluster, web: str) -> None:
    assert in_pod(cluster, web, "/bin/wget", "-qO-", "http://web.web.svc") == "hello\n"


def test_a_name_that_does_not_exist_is_told_to_not_exist(cluster: Cluster, web: str) -> None:
    with pytest.raises(Problem, match="NXDOMAIN"):
        in_pod(cluster, web, "/bin/nslookup", "nowhere.example.")


def test_logs_are_shown(cluster: Cluster, web: str) -> None:
    assert "serving\n" in cluster.kubectl("--namespace", web, "logs", "deployment/web", "--container", "web")


def test_a_service_account_is_no_administrator(cluster: Cluster, web: str) -> None:
    with pytest.raises(Problem, match="Forbidden"):
        cluster.kubectl("--as", f"system:serviceaccount:{web}:default", "get", "secrets")


def test_a_pod_that_is_not_restricted_is_refused_where_that_is_enforced(cluster: Cluster, web: str) -> None:
    with pytest.raises(Problem, match="violates PodSecurity"):
        cluster.kubectl("--namespace", web, "run", "bad", f"--image={webserver.IMAGE}")


def test_every_write_is_in_the_audit_log_when_its_answer_is_there(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "audited")

    events = [json.loads(line) for line in cluster.audit_log.read_text().splitlines()]
    writes = [e for e in events if e["verb"] == "create" and e["objectRef"].get("name") == "audited"]
    assert [(e["user"]["username"], e["responseStatus"]["code"]) for e in writes] == [("admin", 201)]


def test_an_image_is_loaded_once(
    cluster: Cluster, web: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "image.tar"
    file.write_bytes(archive.make("localhost/once:1", {"/x": b"x"}, ("/x",), "amd64"))

    cluster.load([file])
    cluster.load([file])

    said = capsys.readouterr().err
    assert said.count("loading localhost/once:1: done") == 1
    assert said.count("localhost/once:1: already loaded") == 1


def test_pods_of_two_nodes_reach_each_other_and_removing_one_leaves_nothing_of_it(
    cluster: Cluster, web: str, image: Path
) -> None:
    before, cgroup = host(), FILES.of(addresses.SECOND).cgroup
    with fixture.second_node([image]) as second:
        cluster.kubectl("apply", "-f", "-", input=json.dumps(webserver.manifests("far", second)))
        cluster.kubectl("--namespace", "far", "rollout", "status", "deployment/web", "--timeout=120s")
        assert in_pod(cluster, web, "/bin/wget", "-qO-", "http://web.far.svc") == "hello\n"
        assert in_pod(cluster, "far", "/bin/wget", "-qO-", "http://web.web.svc") == "hello\n"
        path = "jsonpath={.items[0].status.podIP}"
        address = cluster.kubectl("--namespace", "far", "get", "pods", "--output", path)
        assert fetched(f"{address}:8080") == "hello\n"
        assert cgroups.left(cgroup) != []

    assert cluster.kubectl("get", "nodes", "--output=name").split() == [f"node/{addresses.NODE_NAME}"]
    assert host() == before
    assert cgroups.left(cgroup) == []
    assert not FILES.of(addresses.SECOND).home.exists()
    assert health.waits_for(FILES) == ""


def test_up_starts_daemons_again_that_were_killed_and_pods_survive(cluster: Cluster, web: str) -> None:
    path = "jsonpath={.items[0].metadata.uid}"
    before = cluster.kubectl("--namespace", web, "get", "pods", "--output", path)
    (holder,) = namespaces.holders(FILES)
    for process in namespaces.members(holder):
        if Path(process.argv[0]).name in ("etcd", "kubelet", "kube-proxy", "coredns"):
            os.kill(process.pid, signal.SIGKILL)
    until(lambda: "" if health.waits_for(FILES) else "the end of the killed daemons", 10)

    localcluster("up")

    assert health.waits_for(FILES) == ""
    assert cluster.kubectl("--namespace", web, "get", "pods", "--output", path) == before
    until(lambda: lacking_answer(cluster, web), 30)  # kubelet knows no pod until it has read them again


def lacking_answer(cluster: Cluster, namespace: str) -> str:
    try:
        answer = in_pod(cluster, namespace, "/bin/wget", "-qO-", "http://web")
    except Problem as problem:
        return str(problem)
    return "" if answer == "hello\n" else f"another answer than {answer!r}"


def test_down_leaves_nothing_of_a_cluster_with_running_pods(cluster: Cluster, web: str) -> None:
    localcluster("down")
    before = host()
    running = fixture.running()
    running.kubectl("create", "namespace", "x")
    localcluster("node", "add")
    assert teardown.leftovers(FILES) != []  # or the next line could not fail

    localcluster("down")

    assert teardown.leftovers(FILES) == []
    after = host()
    assert {name: after[name] - before[name] for name in after} == {name: set() for name in after}


@pytest.mark.parametrize("reached", ["certificates", "holder", "record", "etcd", "kubelet"])
def test_an_up_that_was_killed_is_tidied_up_by_down_and_replaced_by_up(reached: str) -> None:
    killed_up(reached)
    localcluster("down")
    assert teardown.leftovers(FILES) == []

    killed_up(reached)
    localcluster("up")
    assert health.waits_for(FILES) == ""
    assert len(namespaces.holders(FILES)) == 1


def killed_up(reached: str) -> None:
    """Start `up` on a machine without a cluster and kill it once it got so far."""
    localcluster("down")
    process = subprocess.Popen([*COMMAND, "up"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: "" if got_to(reached) else f"an `up` that got to {reached}", 60, pause=0.005)
    finally:
        process.kill()
        process.wait()


def got_to(reached: str) -> bool:
    match reached:
        case "certificates":
            return (FILES.certificates / "ca.crt").exists()
        case "holder":
            return bool(namespaces.holders(FILES))
        case "record":
            return (FILES.state / "fingerprint").exists()
        case daemon:
            return (FILES.logs / f"{daemon}.log").exists()
