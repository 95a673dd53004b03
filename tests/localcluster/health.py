"""Whether the bare cluster works, and waiting until it does."""

from collections.abc import Callable, Iterable

from tests.localcluster import addresses, containerd, control_plane, daemons, dns, inquiry, namespaces, node
from tests.localcluster.daemons import Daemon
from tests.localcluster.layout import Layout
from tests.localcluster.namespaces import Process
from tests.localcluster.problem import Problem
from tests.localcluster.waiting import until

SECONDS = 240.0  # for a slow machine; a fast one needs 5


def first_daemons(layout: Layout) -> list[Daemon]:
    """What comes up by itself."""
    return [control_plane.etcd(layout), control_plane.api_server(layout), containerd.daemon(layout)]


def second_daemons(layout: Layout) -> list[Daemon]:
    """What needs a ready API server and containerd."""
    managers = [control_plane.controller_manager(layout), control_plane.scheduler(layout)]
    return [*managers, node.kubelet(layout), node.proxy(layout), dns.daemon(layout)]


def all_daemons(layout: Layout) -> list[Daemon]:
    """Everything that runs beside pods."""
    return [*first_daemons(layout), *second_daemons(layout)]


def waits_for(layout: Layout) -> str:
    """What the cluster lacks to run pods; "" when it lacks nothing."""
    holders = namespaces.holders(layout)
    if not holders:
        return "the process that holds the cluster's namespaces"
    running = daemons.running(all_daemons(layout), holders[0])
    stopped = [daemon.name for daemon in all_daemons(layout) if daemon not in running]
    if stopped:
        return "running daemons: " + ", ".join(stopped)
    return services_wait_for(layout)


def api_waits_for(layout: Layout) -> str:
    """What the API server lacks."""
    return "" if inquiry.api(layout, "/readyz") else "a ready API server"


def services_wait_for(layout: Layout) -> str:
    """What API server, node, Services and names lack, whatever daemons they come from."""
    if lacking := api_waits_for(layout):
        return lacking
    if lacking := inquiry.node_waits_for(inquiry.api(layout, f"/api/v1/nodes/{addresses.NODE_NAME}")):
        return lacking
    if not inquiry.ok(addresses.PROXY_HEALTH_PORT, "/healthz"):
        return "kube-proxy"
    if not inquiry.ok(addresses.DNS_READY_PORT, "/ready"):
        return "CoreDNS"
    account = inquiry.api(layout, "/api/v1/namespaces/default/serviceaccounts/default")
    return "" if account else "the default service account"


def works(layout: Layout, seconds: float = 30) -> bool:
    """Whether a cluster answers, given some time: a busy machine is no reason to take one for broken."""
    try:
        until(lambda: services_wait_for(layout), seconds, pause=0.5)
    except Problem:
        return False
    return True


def wait(expected: Iterable[Daemon], holder: Process, layout: Layout, lacking: Callable[[], str]) -> None:
    """Wait until nothing is lacking. Problem with the end of its log as soon as an expected daemon has ended."""
    wanted = list(expected)
    suspected: list[Daemon] = []

    def condition() -> str:
        nonlocal suspected
        running = daemons.running(wanted, holder)
        stopped = [daemon for daemon in wanted if daemon not in running]
        for daemon in stopped:
            if daemon in suspected:  # missing twice: not one that is only just being started
                raise Problem(f"{daemon.name} ended; {daemons.last_words(daemon, layout)}")
        suspected = stopped
        return lacking()

    until(condition, SECONDS, pause=0.2)
