"""The veth pair between host and cluster, routes on both sides, and the pods' network.

Pods get the CNI plugin ptp, one veth each and every packet routed. With a bridge, an answer from a pod to its neighbour
would go past the translation of Service addresses wherever the kernel module br_netfilter is not loaded.
"""

import json
from collections.abc import Sequence

from tests.localcluster import addresses
from tests.localcluster.addresses import Node


def inside(node: Node = addresses.FIRST) -> Sequence[Sequence[str]]:
    """Commands inside the node's network namespace, after those outside of it."""
    link = addresses.INNER_LINK
    return [
        ["ip", "link", "set", "lo", "up"],
        ["ip", "address", "add", f"{node.address}/{addresses.LINK_BITS}", "dev", link],
        ["ip", "link", "set", link, "up"],
        ["ip", "route", "add", "default", "via", node.gateway],
        ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"],
    ]


def outside(holder: int) -> Sequence[Sequence[str]]:
    """Commands on the host. holder: a process in the cluster's network namespace, which gets the other end."""
    link, peer = addresses.HOST_LINK, addresses.INNER_LINK
    return [
        ["ip", "link", "add", link, "type", "veth", "peer", "name", peer, "netns", str(holder)],
        ["ip", "address", "add", f"{addresses.HOST}/{addresses.LINK_BITS}", "dev", link],
        ["ip", "link", "set", link, "up"],
        # The kernel removes the routes with the link.
        *(["ip", "route", "add", r, "via", addresses.NODE] for r in (addresses.PODS, addresses.SERVICES)),
    ]


def between(holder: int, node: Node) -> Sequence[Sequence[str]]:
    """Commands in the first node's network namespace. holder: a process in the other's, which gets the pair's end."""
    link, peer = addresses.NODE_LINK, addresses.INNER_LINK
    return [
        ["ip", "link", "add", link, "type", "veth", "peer", "name", peer, "netns", str(holder)],
        ["ip", "address", "add", f"{node.gateway}/{addresses.LINK_BITS}", "dev", link],
        ["ip", "link", "set", link, "up"],
        ["ip", "route", "add", node.pods, "via", node.address],
    ]


def beyond(node: Node) -> Sequence[Sequence[str]]:
    """Commands on the host for another node than the first, through which it is reached."""
    return [["ip", "route", "replace", r, "via", addresses.NODE] for r in (node.address, node.pods)]


def cni_configuration(node: Node = addresses.FIRST) -> str:
    """The CNI network list. Its address leases lie in /var/lib/cni, which is the node's own."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": node.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    plugin = {"type": "ptp", "ipMasq": False, "ipam": ipam}
    network = {"cniVersion": "0.4.0", "name": addresses.CLUSTER_NAME, "plugins": [plugin]}
    return json.dumps(network, indent=2, sort_keys=True) + "\n"
