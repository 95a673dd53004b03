"""kubelet and kube-proxy: their command lines and configuration files."""

import json
from pathlib import Path

from tests.localcluster import addresses, containerd
from tests.localcluster.daemons import Daemon
from tests.localcluster.layout import Layout


def kubelet_configuration(layout: Layout) -> dict[str, object]:
    """KubeletConfiguration: https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/"""
    at = layout.certificates
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{containerd.socket(layout)}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{at}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{at}/kubelet-server{layout.node.suffix}.crt",
        "tlsPrivateKeyFile": f"{at}/kubelet-server{layout.node.suffix}.key",
        "clusterDNS": [addresses.DNS_SERVICE],
        "clusterDomain": addresses.DOMAIN,
        "resolvConf": str(layout.configuration / "resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "maxPods": 200,
        # A developer's disk may be nearly full: that is no reason to evict pods or to throw images away.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "podLogsDir": str(layout.logs / "pods"),
        "volumePluginDir": "/var/lib/kubelet-plugins",
        "healthzBindAddress": layout.node.address,
        "healthzPort": addresses.KUBELET_HEALTH_PORT,
    }


def proxy_configuration(layout: Layout) -> dict[str, object]:
    """KubeProxyConfiguration: https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/"""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{layout.certificates}/kube-proxy.kubeconfig"},
        "clusterCIDR": layout.node.pods,
        "detectLocalMode": "ClusterCIDR",
        "hostnameOverride": layout.node.name,
        "mode": "nftables",
        "conntrack": {"maxPerCore": 0, "min": 0},  # 0: the kernel's limits are the host's, leave them
        "oomScoreAdj": 0,
        "healthzBindAddress": f"{layout.node.address}:{addresses.PROXY_HEALTH_PORT}",
        "metricsBindAddress": "127.0.0.1:10249",
    }


def files(layout: Layout) -> dict[Path, str]:
    """The node's configuration files. JSON is YAML."""
    at = layout.configuration
    return {
        at / "kubelet.json": json.dumps(kubelet_configuration(layout), indent=2, sort_keys=True) + "\n",
        at / "kube-proxy.json": json.dumps(proxy_configuration(layout), indent=2, sort_keys=True) + "\n",
        at / "resolv.conf": f"nameserver {addresses.NODE}\n",
    }


def kubelet(layout: Layout) -> Daemon:
    """kubelet, registering the node."""
    options = {
        "config": str(layout.configuration / "kubelet.json"),
        "kubeconfig": str(layout.certificates / f"kubelet{layout.node.suffix}.kubeconfig"),
        "root-dir": str(layout.home / "kubelet"),
        "node-ip": layout.node.address,
        "hostname-override": layout.node.name,
    }
    words = (f"--{option}={value}" for option, value in sorted(options.items()))
    return Daemon("kubelet", (str(layout.programs / "kubelet"), *words))


def proxy(layout: Layout) -> Daemon:
    """kube-proxy, which makes Services work by nftables in the node's network namespace."""
    program = str(layout.programs / "kube-proxy")
    return Daemon("kube-proxy", (program, f"--config={layout.configuration}/kube-proxy.json"))
