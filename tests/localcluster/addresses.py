"""The cluster's addresses and names, all from the benchmarking range 198.18.0.0/15, which no real network routes.

The cluster lives in a network namespace of its own; one veth pair joins it to the host. Everything listens on the
inner end, so no port of the host is taken. The second node, which some tests add, hangs on the first by another pair.
"""

from dataclasses import dataclass

HOST = "198.19.254.1"  # the host's end of the veth pair
NODE = "198.19.254.2"  # the inner end: node, API server, kubelet, CoreDNS
LINK_BITS = 30
PODS = "198.19.1.0/24"
SERVICES = "198.18.128.0/20"
KUBERNETES_SERVICE = "198.18.128.1"  # the API server gives the first address of the range to the Service kubernetes
DNS_SERVICE = "198.18.128.10"
DOMAIN = "cluster.local"

API_PORT = 6443
API_URL = f"https://{NODE}:{API_PORT}"
ETCD_URL = "http://127.0.0.1:2379"
KUBELET_HEALTH_PORT = 10248
PROXY_HEALTH_PORT = 10256
DNS_READY_PORT = 8181

NODE_NAME = "local"
CLUSTER_NAME = "pgbouncer-operator"
HOST_LINK = "pgbouncerop0"  # link names have at most 15 characters
INNER_LINK = "host0"
NODE_LINK = "node-second"  # the first node's end of the pair to the second; the second's own end is INNER_LINK too


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its name, its address and the gateway at the link's other end, its pods, and what tells its files apart.

    suffix: at the end of the names of its certificates; "" for the first.
    """

    name: str
    address: str
    gateway: str
    pods: str
    suffix: str


FIRST = Node(NODE_NAME, NODE, HOST, PODS, "")
SECOND = Node("second", "198.19.254.6", "198.19.254.5", "198.19.2.0/24", "-second")
