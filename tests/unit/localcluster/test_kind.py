import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.localcluster import archive, kind
from tests.localcluster.kind import Kind
from tests.localcluster.layout import Layout
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress

QUIET = Progress(io.StringIO())


class FakeKind:
    """kind's command line in memory: clusters and loaded archives."""

    def __init__(self) -> None:
        self.clusters: set[str] = {"somebody-elses"}
        self.loaded: list[str] = []
        self.asked: list[list[str]] = []
        self.configuration = ""
        self.running = True

    def __call__(self, argv: Sequence[str], /, *, text: str | None = None) -> str:
        self.asked.append(list(argv))
        if argv[0] == "docker":
            return self.docker(argv[1:])
        assert argv[0] == "/bin/kind"
        words = list(argv[1:])
        name = words[words.index("--name") + 1] if "--name" in words else ""
        match words[:2]:
            case ["get", "clusters"]:
                return "\n".join(sorted(self.clusters)) + "\n"
            case ["get", "kubeconfig"]:
                return f"kubeconfig of {name}\n"
            case ["create", "cluster"]:
                assert name not in self.clusters
                self.configuration = Path(words[words.index("--config") + 1]).read_text()
                self.clusters.add(name)
            case ["delete", "cluster"]:
                self.clusters.discard(name)
            case ["load", "image-archive"]:
                self.loaded.append(words[2])
            case _:
                raise AssertionError(words)
        return ""

    def docker(self, words: Sequence[str]) -> str:
        if words[0] == "inspect":
            return f"{str(self.running).lower()}\n"
        if words[0] == "start":
            self.running = True
        elif words[0] == "exec" and not self.running:
            raise Problem("the container is not running")
        return "node Ready control-plane 1d v1.2.3\n" if "nodes" in words else ""


@pytest.fixture
def machine() -> FakeKind:
    return FakeKind()


@pytest.fixture
def ours(machine: FakeKind, tmp_path: Path) -> Kind:
    return Kind("/bin/kind", "docker", Layout(tmp_path, "v1.2.3"), machine)


def image(path: Path, content: bytes) -> Path:
    path.write_bytes(archive.make("localhost/pool:dev", {"/pool": content}, ("/pool",), "amd64"))
    return path


def test_up_creates_the_cluster_and_writes_its_kubeconfig(machine: FakeKind, ours: Kind) -> None:
    kind.up(ours, QUIET)

    assert machine.clusters == {"somebody-elses", "pgbouncer-operator"}
    assert ours.layout.kubeconfig.read_text() == "kubeconfig of pgbouncer-operator\n"
    assert ours.layout.kubeconfig.stat().st_mode & 0o077 == 0


def test_the_commands_of_up_are_these(machine: FakeKind, ours: Kind, tmp_path: Path) -> None:
    kind.up(ours, QUIET)

    at = tmp_path / "cluster"
    files = ["--config", f"{at}/configuration/kind.json", "--kubeconfig", f"{at}/kubeconfig"]
    assert machine.asked == [
        ["/bin/kind", "get", "clusters"],
        ["/bin/kind", "create", "cluster", *files, "--wait", "180s", "--name", "pgbouncer-operator"],
        ["docker", "exec", "pgbouncer-operator-control-plane", "chmod", "-R", "a+rwX", "/var/log/kubernetes-audit"],
        ["/bin/kind", "get", "kubeconfig", "--name", "pgbouncer-operator"],
    ]


def test_a_second_up_leaves_the_cluster_as_it_is(machine: FakeKind, ours: Kind) -> None:
    kind.up(ours, QUIET)
    kind.up(ours, QUIET)

    assert sum("create" in argv for argv in machine.asked) == 1


def test_down_deletes_our_cluster_only_and_its_files(machine: FakeKind, ours: Kind) -> None:
    kind.up(ours, QUIET)
    kind.down(ours)

    assert machine.clusters == {"somebody-elses"}
    assert not ours.layout.state.exists()


def test_an_archive_is_loaded_once_and_again_when_its_content_changed(
    machine: FakeKind, ours: Kind, tmp_path: Path
) -> None:
    kind.up(ours, QUIET)
    file = image(tmp_path / "pool.tar", b"one")
    kind.load(ours, [file], QUIET)
    kind.load(ours, [file], QUIET)
    kind.load(ours, [image(file, b"two")], QUIET)

    assert machine.loaded == [str(file), str(file)]


def test_a_new_cluster_knows_no_archive_of_the_one_before(machine: FakeKind, ours: Kind, tmp_path: Path) -> None:
    file = image(tmp_path / "pool.tar", b"one")
    kind.up(ours, QUIET)
    kind.load(ours, [file], QUIET)
    machine.clusters.remove("pgbouncer-operator")
    kind.up(ours, QUIET)
    kind.load(ours, [file], QUIET)

    assert machine.loaded == [str(file), str(file)]


def test_the_audit_log_is_written_where_the_layout_says(machine: FakeKind, ours: Kind) -> None:
    kind.up(ours, QUIET)

    (node,) = json.loads(machine.configuration)["nodes"]
    mounts = {mount["containerPath"]: Path(mount["hostPath"]) for mount in node["extraMounts"]}
    options = {
        patch["version"]: [(op["path"], op["value"]) for op in json.loads(patch["patch"])]
        for patch in node["kubeadmConfigPatchesJSON6902"]
    }
    log = next(value for path, value in options["v1beta3"] if path == "/apiServer/extraArgs/audit-log-path")
    policy = next(value for path, value in options["v1beta3"] if path == "/apiServer/extraArgs/audit-policy-file")

    assert mounts[str(Path(log).parent)] / Path(log).name == ours.layout.audit_log
    assert ours.layout.audit_log.parent.is_dir()
    assert json.loads(mounts[policy].read_text())["kind"] == "Policy"
    assert ("/apiServer/extraArgs/-", {"name": "audit-log-path", "value": log}) in options["v1beta4"]


def test_the_chosen_engine_is_passed_to_kind() -> None:
    assert kind.environment("podman", {"PATH": "/bin"}) == {"PATH": "/bin", "KIND_EXPERIMENTAL_PROVIDER": "podman"}


def test_a_cluster_whose_node_has_stopped_is_started(machine: FakeKind, ours: Kind) -> None:
    kind.up(ours, QUIET)
    machine.running = False
    assert kind.status(ours) == "kind: its node has stopped; `make cluster` starts it"

    kind.up(ours, QUIET)

    assert ["docker", "start", "pgbouncer-operator-control-plane"] in machine.asked
    assert kind.status(ours) == "kind: running"
    assert sum("create" in argv for argv in machine.asked) == 1


def test_a_nodes_image_can_be_named(machine: FakeKind, tmp_path: Path) -> None:
    image = kind.wanted_image({"NODE_IMAGE": "mirror.example.com/kindest/node:v1.33.4", "KUBERNETES": "1.33"})
    kind.up(Kind("/bin/kind", "docker", Layout(tmp_path, "v1.2.3"), machine, image), QUIET)

    (create,) = (argv for argv in machine.asked if "create" in argv)
    assert create[create.index("--image") + 1] == "mirror.example.com/kindest/node:v1.33.4"


def test_another_kubernetes_without_an_image_is_refused_with_the_way_to_name_one() -> None:
    assert kind.wanted_image({}) == ""
    with pytest.raises(Problem, match=r"NODE_IMAGE=kindest/node:v1\.33\.0, or set LOCALCLUSTER=bare"):
        kind.wanted_image({"KUBERNETES": "1.33"})


def test_the_control_plane_requests_nothing(machine: FakeKind, ours: Kind) -> None:
    kind.up(ours, QUIET)

    (node,) = json.loads(machine.configuration)["nodes"]
    (patch,) = map(json.loads, node["kubeadmConfigPatches"])
    (there,) = (
        Path(mount["hostPath"])
        for mount in node["extraMounts"]
        if mount["containerPath"] == patch["patches"]["directory"]
    )
    assert patch["kind"] == "InitConfiguration"
    assert sorted(file.name for file in there.iterdir()) == [
        "etcd+json.json",
        "kube-apiserver+json.json",
        "kube-controller-manager+json.json",
        "kube-scheduler+json.json",
    ]
    for file in there.iterdir():
        assert json.loads(file.read_text()) == [{"op": "remove", "path": "/spec/containers/0/resources/requests"}]
