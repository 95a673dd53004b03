"""What the bare cluster's parts are told must fit together."""

import ipaddress
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.localcluster import (
    addresses,
    certificates,
    cgroups,
    containerd,
    control_plane,
    daemons,
    dns,
    mounts,
    network,
    node,
)
from tests.localcluster import second as second_node
from tests.localcluster.daemons import Daemon
from tests.localcluster.layout import Layout
from tests.localcluster.problem import Problem

FILES = Layout(Path("/cache"), "v1.2.3")


def options(daemon: Daemon) -> dict[str, str]:
    return dict(word.removeprefix("--").split("=", 1) for word in daemon.argv[1:])


def test_all_addresses_are_of_the_benchmarking_range_and_no_two_ranges_overlap() -> None:
    link = ipaddress.IPv4Network(f"{addresses.HOST}/{addresses.LINK_BITS}", strict=False)
    second = ipaddress.IPv4Network(f"{addresses.SECOND.address}/{addresses.LINK_BITS}", strict=False)
    pods = [ipaddress.IPv4Network(node.pods) for node in (addresses.FIRST, addresses.SECOND)]
    ranges = [link, second, *pods, ipaddress.IPv4Network(addresses.SERVICES)]

    assert all(one.subnet_of(ipaddress.IPv4Network("198.18.0.0/15")) for one in ranges)
    assert not any(one.overlaps(other) for one in ranges for other in ranges if one is not other)
    assert ipaddress.IPv4Address(addresses.NODE) in link
    assert ipaddress.IPv4Address(addresses.SECOND.gateway) in second
    assert ipaddress.IPv4Address(addresses.KUBERNETES_SERVICE) == ipaddress.IPv4Network(addresses.SERVICES)[1]
    assert ipaddress.IPv4Address(addresses.DNS_SERVICE) in ipaddress.IPv4Network(addresses.SERVICES)


def test_the_kernel_takes_the_links_names() -> None:
    assert max(len(name) for name in (addresses.HOST_LINK, addresses.INNER_LINK, addresses.NODE_LINK)) <= 15


def test_the_api_server_and_the_proxy_know_the_same_ranges_as_the_routes() -> None:
    routed = {command[3] for command in network.outside(1) if command[:3] == ["ip", "route", "add"]}

    assert routed == {
        options(control_plane.api_server(FILES))["service-cluster-ip-range"],
        str(node.proxy_configuration(FILES)["clusterCIDR"]),
    }


def test_pods_get_addresses_of_the_pod_range() -> None:
    (plugin,) = json.loads(network.cni_configuration())["plugins"]

    assert plugin["ipam"]["ranges"] == [[{"subnet": addresses.PODS}]]


def test_two_nodes_share_nothing_but_the_authority_and_the_programs() -> None:
    other = FILES.of(addresses.SECOND)
    first, second = (
        [*options(node.kubelet(each)).items(), *flat(node.kubelet_configuration(each))] for each in (FILES, other)
    )
    shared = {value for _, value in set(first) & set(second) if str(FILES.cache) in value}

    assert shared == {f"{FILES.certificates}/ca.crt"}
    assert set(second_node.files(other)) & set(bare_files()) == set()
    assert containerd.socket(other) != containerd.socket(FILES)
    assert other.audit_log == FILES.audit_log


def flat(configuration: object, key: str = "") -> list[tuple[str, str]]:
    if isinstance(configuration, dict):
        return [pair for name, value in configuration.items() for pair in flat(value, f"{key}/{name}")]
    return [(key, str(configuration))]


def bare_files() -> dict[Path, str]:
    return control_plane.files(FILES) | containerd.files(FILES) | node.files(FILES) | dns.files(FILES)


def test_all_of_a_second_node_goes_with_the_cluster() -> None:
    other = FILES.of(addresses.SECOND)

    assert other.home.is_relative_to(FILES.state)
    assert other.home != FILES.state
    assert Path(other.cgroup).is_relative_to(FILES.cgroup)
    assert other.cgroup != FILES.cgroup


def test_a_second_nodes_kubelet_is_told_of_files_that_are_made_for_it() -> None:
    other, asked = FILES.of(addresses.SECOND), []

    def fake(argv: Sequence[str], /, *, text: str | None = None) -> str:
        asked.append(argv[argv.index("-keyout") + 1])
        return ""

    with pytest.raises(FileNotFoundError):  # openssl made nothing that a kubeconfig could be made of
        certificates.make_for(addresses.SECOND, other.certificates, fake)

    key = str(node.kubelet_configuration(other)["tlsPrivateKeyFile"])
    kubeconfig = Path(options(node.kubelet(other))["kubeconfig"])
    assert asked == [key, str(kubeconfig.with_suffix(".key"))]


def test_a_second_nodes_pods_are_routed_where_their_addresses_come_from() -> None:
    (plugin,) = json.loads(network.cni_configuration(addresses.SECOND))["plugins"]
    subnet = addresses.SECOND.pods

    assert plugin["ipam"]["ranges"] == [[{"subnet": subnet}]]
    assert ["ip", "route", "add", subnet, "via", addresses.SECOND.address] in network.between(7, addresses.SECOND)
    assert subnet in {command[3] for command in network.beyond(addresses.SECOND)}
    assert node.proxy_configuration(FILES.of(addresses.SECOND))["clusterCIDR"] == subnet


def test_every_file_that_a_daemon_is_told_of_is_written() -> None:
    all_files = control_plane.files(FILES) | node.files(FILES) | dns.files(FILES)
    written = {str(path) for path in all_files}
    for name in ("ca", *(c.name for c in (certificates.API_SERVER, certificates.API_SERVER_TO_KUBELET))):
        written |= {f"{FILES.certificates}/{name}.crt", f"{FILES.certificates}/{name}.key"}
    written |= {f"{FILES.certificates}/{client.name}.kubeconfig" for client in certificates.CLIENTS}
    written |= {f"{FILES.certificates}/service-accounts.key"}
    told = control_plane.api_server(FILES), control_plane.controller_manager(FILES), control_plane.scheduler(FILES)
    values = [value for daemon in (*told, node.kubelet(FILES), node.proxy(FILES)) for value in options(daemon).values()]
    read = {value for value in values if value.startswith((str(FILES.certificates), str(FILES.configuration)))}

    assert read - written == set()
    assert read != set()


def test_the_daemons_write_their_state_below_the_state_directory_only() -> None:
    kubelet = node.kubelet_configuration(FILES)

    assert Path(options(control_plane.etcd(FILES))["data-dir"]).is_relative_to(FILES.state)
    assert Path(options(node.kubelet(FILES))["root-dir"]).is_relative_to(FILES.state)
    assert Path(str(kubelet["podLogsDir"])).is_relative_to(FILES.state)
    assert options(control_plane.api_server(FILES))["audit-log-path"] == str(FILES.audit_log)


def test_kubelet_puts_pods_into_the_clusters_own_cgroup_which_we_make() -> None:
    made = {f"/{directory.name}" for directory in cgroups.directories(FILES.cgroup)}

    assert made <= {node.kubelet_configuration(FILES)["cgroupRoot"]}


def test_two_caches_have_two_cgroups() -> None:
    assert FILES.cgroup != Layout(Path("/other"), "v1.2.3").cgroup


def test_pods_ask_the_service_whose_endpoint_is_coredns() -> None:
    items = {item["kind"]: item for item in json.loads(dns.manifests())["items"]}

    assert node.kubelet_configuration(FILES)["clusterDNS"] == [items["Service"]["spec"]["clusterIP"]]
    assert items["EndpointSlice"]["endpoints"][0]["addresses"] == [addresses.NODE]
    assert f"bind {addresses.NODE}" in dns.corefile(FILES)


def test_every_closing_brace_of_the_corefile_stands_alone() -> None:
    assert {line.strip() for line in dns.corefile(FILES).splitlines() if "}" in line} == {"}"}


def test_containerds_configuration_is_toml_even_with_an_awkward_path() -> None:
    files = Layout(Path('/a "quoted" \\ path'), "v1.2.3")

    found = tomllib.loads(containerd.configuration(files, "/opt/cni/bin", "native"))

    cri = found["plugins"]["io.containerd.grpc.v1.cri"]
    assert found["root"] == str(files.state / "containerd")
    assert cri["sandbox_image"] == containerd.PAUSE_IMAGE
    assert cri["containerd"]["snapshotter"] == "native"
    assert cri["cni"] == {"bin_dir": "/opt/cni/bin", "conf_dir": str(files.configuration / "cni")}
    assert cri["restrict_oom_score_adj"] is True
    assert cri["containerd"]["runtimes"]["runc"]["base_runtime_spec"] == str(files.configuration / "container.json")


@pytest.mark.parametrize(("hard", "expected"), [(20000, (1024, 20000)), (512, (512, 512)), (-1, (1024, 2**20))])
def test_every_container_begins_with_the_soft_limit_of_containerd_2(hard: int, expected: tuple[int, int]) -> None:
    default = {"process": {"cwd": "/", "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 9}]}}
    found = json.loads(containerd.specification(json.dumps(default), hard))["process"]
    assert found["cwd"] == "/"
    assert [(each["type"], each["soft"], each["hard"]) for each in found["rlimits"]] == [("RLIMIT_NOFILE", *expected)]


def test_a_socket_path_that_the_kernel_would_refuse_is_refused_first() -> None:
    with pytest.raises(Problem, match="XDG_CACHE_HOME"):
        containerd.socket(Layout(Path("/" + "x" * 100), "v1.2.3"))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        pytest.param("/dev/vda / ext4 rw 0 0\n", "overlayfs", id="a disk"),
        pytest.param("overlay / overlay rw 0 0\n", "native", id="in a container"),
        pytest.param("overlay / overlay rw 0 0\n/dev/vdb /cache ext4 rw 0 0\n", "overlayfs", id="a volume in one"),
        pytest.param("/dev/vda / ext4 rw 0 0\noverlay /cacheless overlay rw 0 0\n", "overlayfs", id="elsewhere"),
    ],
)
def test_the_snapshotter_fits_the_file_system(table: str, expected: str) -> None:
    assert containerd.snapshotter(table, Path("/cache/cluster")) == expected


def test_cgroup_hierarchies_of_both_versions_are_found() -> None:
    table = (
        "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n/dev/vda / ext4 rw 0 0\n"
    )

    assert cgroups.hierarchies(table) == {
        Path("/sys/fs/cgroup/cpu"): "cgroup",
        Path("/sys/fs/cgroup/unified"): "cgroup2",
    }


def test_mounts_of_image_builds_are_let_go_of_from_the_inside_out() -> None:
    table = (
        "/dev/vda / ext4 rw 0 0\noverlay /cache/build/merged overlay rw 0 0\n"
        "proc /cache/build/merged/proc proc rw 0 0\ntmpfs /cachet tmpfs rw 0 0\n"
    )

    assert mounts.foreign(FILES, table) == ["/cache/build/merged/proc", "/cache/build/merged"]


@pytest.mark.parametrize("home", ["/var/lib/jenkins", "/run/user/0", "/var/log"])
def test_a_cache_that_the_cluster_could_not_see_is_refused(home: str) -> None:
    with pytest.raises(Problem, match="XDG_CACHE_HOME"):
        mounts.check(Layout(Path(home), "v1.2.3"))


def test_a_daemon_is_started_with_its_words_quoted() -> None:
    line = daemons.launch(Daemon("etcd", ("/a b/etcd", "--name=it's")), FILES)

    assert line == ("setsid '/a b/etcd' '--name=it'\"'\"'s' </dev/null >>/cache/cluster/logs/etcd.log 2>&1 &")


def test_every_server_certificate_names_what_it_is_asked_for() -> None:
    command = certificates.certificate_command(certificates.API_SERVER, FILES.certificates)
    names = next(word for word in command if word.startswith("subjectAltName="))

    assert f"IP:{addresses.NODE}" in names
    assert f"IP:{addresses.KUBERNETES_SERVICE}" in names
    assert "extendedKeyUsage=serverAuth" in command


def test_the_kubeconfig_leads_to_the_api_server() -> None:
    found = json.loads(certificates.kubeconfig("Y2E=", "Y3J0", "a2V5"))

    assert found["clusters"][0]["cluster"] == {
        "server": f"https://{addresses.NODE}:{addresses.API_PORT}",
        "certificate-authority-data": "Y2E=",
    }
    assert found["current-context"] == found["contexts"][0]["name"]
