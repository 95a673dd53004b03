"""Good and bad pools as in `pools.py`, about the shape of pods, Service and connection Secrets."""
# ruff: noqa: E501  one row a line, or nobody reads the table

from typing import Any

from tests.contract.pools import SECRET, TLS, Bad, Change, Object, pool, put

CLASS_NAME = "must match ^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"
TEMPLATE = (
    "may have only these names in braces: host, port, database, username, password, sslmode, uri, jdbc-uri, "
    "url-host, url-database, url-username, url-password; write a brace twice"
)
EXTERNAL = "nodePort and externalTrafficPolicy need type NodePort or LoadBalancer: set it, or remove them"
FAMILIES = "ipFamilies needs both families with a dual-stack ipFamilyPolicy, else one: correct or remove it"
PEERS: Object = {
    "labelSelector": {"matchLabels": {"pgbouncer-operator.io/pool": "shop-pool"}},
    "topologyKey": "kubernetes.io/hostname",
}
REQUIRED, PREFERRED = (f"{each}DuringSchedulingIgnoredDuringExecution" for each in ("required", "preferred"))


def affinity(part: str, name: str, value: Any) -> Change:
    """Place the pods by one rule of spec.pod.affinity."""
    return put(pod={"affinity": {part: {name: value}}})


def node_terms(*expressions: Object) -> Object:
    """One term about labels of nodes."""
    return {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}


GOOD: tuple[tuple[str, Object], ...] = (
    ("a placed pod", pool(put(pod={
        "serviceAccountName": "shop.pool", "runtimeClassName": "gvisor",
        "affinity": {
            "nodeAffinity": {
                REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64", "arm64"]}, {"key": "cores", "operator": "Gt", "values": ["3"]}]}, {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node.example.com"]}]}]},
                PREFERRED: [{"weight": 100, "preference": {"matchExpressions": [{"key": "spot", "operator": "DoesNotExist"}]}}],
            },
            "podAffinity": {PREFERRED: [{"weight": 1, "podAffinityTerm": {**PEERS, "namespaceSelector": {}, "namespaces": ["db"]}}]},
            "podAntiAffinity": {REQUIRED: [{**PEERS, "matchLabelKeys": ["pod-template-hash"]}, {"topologyKey": "zone", "labelSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}]},
        },
    }))),
    ("keys of an application's own", pool(put(connectionSecrets=[{
        **SECRET, "labels": {"app.kubernetes.io/part-of": "shop", "plain": ""}, "annotations": {"reflector.v1.k8s.emberstack.com/reflection-allowed": "true"},
        "keys": {
            "POSTGRES_PRISMA_URL": "{uri}&connect_timeout=3", "DATABASE_URL": "postgres://{url-username}:{url-password}@{url-host}:{port}/{url-database}",
            "spring.json": '{{"url": "{jdbc-uri}", "of": "{username}@{host}/{database}", "tls": "{sslmode}", "pass": "{password}"}}', "EMPTY": "", "braces": "{{{uri}}}",
        },
    }]))),
    ("a shaped Service", pool(put(clients={"tls": TLS}, service={
        "type": "LoadBalancer", "nodePort": 30432, "externalTrafficPolicy": "Local", "trafficDistribution": "PreferSameZone",
        "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"], "sessionAffinity": "ClientIP",
    }))),
    ("a port on every node", pool(put(clients={"tls": TLS}, service={"type": "NodePort", "nodePort": 30432, "externalTrafficPolicy": "Cluster"}))),
    ("a Service with its defaults written out", pool(put(service={"type": "ClusterIP", "sessionAffinity": "None", "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}))),
    ("a Service with one family", pool(put(service={"ipFamilies": ["IPv6"], "trafficDistribution": "PreferClose"}))),
    ("a Service with both families where there are both", pool(put(service={"ipFamilyPolicy": "PreferDualStack", "trafficDistribution": "PreferSameNode"}))),
    ("pods that may be placed anywhere", pool(put(pod={"affinity": {}}))),
    ("a rule of placement without content", pool(put(pod={"affinity": {"nodeAffinity": {}, "podAntiAffinity": {REQUIRED: []}}}))),
)  # fmt: skip

BAD: tuple[Bad, ...] = (
    Bad("pods near a misspelt kind", pool(put(pod={"affinity": {"nodeAffinity": "ssd"}})), "spec.pod.affinity.nodeAffinity", "must be an object", "must be of type object"),
    *(
        Bad(f"the template {template!r}", pool(put(connectionSecrets=[{**SECRET, "keys": {"POSTGRES_URL": template}}])), "spec.connectionSecrets[0].keys.POSTGRES_URL", TEMPLATE)
        for template in ("{direct-uri}", "{}", "{ uri }", "{uri", "uri}", "{URI}", "{uri!r}", "{uri.format}", "{0}", "{{uri}", "{{{uri}}", "{url-port}", "a\nb", "{password\n}")
    ),
    Bad("a port of nodes without nodes", pool(put(service={"nodePort": 30432})), "spec.service", EXTERNAL),
    Bad("a policy for traffic that never comes", pool(put(service={"externalTrafficPolicy": "Local"})), "spec.service", EXTERNAL),
    *(
        Bad(f"families {families} with {policy}", pool(put(service={"ipFamilies": families, **({"ipFamilyPolicy": policy} if policy else {})})), "spec.service", FAMILIES)
        for families, policy in (
            (["IPv4", "IPv6"], None), (["IPv4", "IPv6"], "SingleStack"), (["IPv4"], "PreferDualStack"),
            (["IPv6"], "RequireDualStack"), (["IPv4", "IPv4"], "PreferDualStack"), (["IPv6", "IPv6"], None),
        )
    ),
    Bad("a Service of no family", pool(put(service={"ipFamilies": []})), "spec.service.ipFamilies", "needs at least 1 entry", "should have at least 1 items"),
    Bad("three families", pool(put(service={"ipFamilies": ["IPv4", "IPv6", "IPv4"], "ipFamilyPolicy": "PreferDualStack"})), "spec.service.ipFamilies", "may have at most 2 entries", "Too many"),
    Bad("a family of its own", pool(put(service={"ipFamilies": ["ipv4"]})), "spec.service.ipFamilies[0]", "must be 'IPv4' or 'IPv6'", 'supported values: "IPv4", "IPv6"'),
    Bad("clients that stay by cookie", pool(put(service={"sessionAffinity": "Cookie"})), "spec.service.sessionAffinity", "must be 'None' or 'ClientIP'", 'supported values: "None", "ClientIP"'),
    Bad("a port of nodes that is none", pool(put(clients={"tls": TLS}, service={"type": "NodePort", "nodePort": 0})), "spec.service.nodePort", "must be greater than or equal to 1", "spec.service.nodePort in body should be greater than or equal to 1"),
    Bad("a ServiceAccount with capitals", pool(put(pod={"serviceAccountName": "Shop"})), "spec.pod.serviceAccountName", CLASS_NAME, "should match"),
    Bad("a runtime class of two lines", pool(put(pod={"runtimeClassName": "a\nb"})), "spec.pod.runtimeClassName", CLASS_NAME, "should match"),
)  # fmt: skip

# What the API server takes, because the definition does not describe it. The operator refuses it, offline and in status.
UNSEEN: tuple[Bad, ...] = (
    Bad("a misspelt rule of placement", pool(affinity("podAntiAffinity", "requiredDuringScheduling", [])), "spec.pod.affinity.podAntiAffinity.requiredDuringScheduling", "is not a field: correct its spelling or remove it"),
    Bad("a misspelt field of a term", pool(affinity("podAntiAffinity", REQUIRED, [{**PEERS, "labelSelecter": {}}])), f"spec.pod.affinity.podAntiAffinity.{REQUIRED}[0].labelSelecter", "is not a field: correct its spelling or remove it"),
    Bad("a term without its domain", pool(affinity("podAffinity", REQUIRED, [{"labelSelector": {}}])), f"spec.pod.affinity.podAffinity.{REQUIRED}[0].topologyKey", "is required: add it"),
    Bad("a weight of nothing", pool(affinity("podAntiAffinity", PREFERRED, [{"weight": 0, "podAffinityTerm": PEERS}])), f"spec.pod.affinity.podAntiAffinity.{PREFERRED}[0].weight", "must be greater than or equal to 1"),
    Bad("nodes by no term", pool(affinity("nodeAffinity", REQUIRED, {"nodeSelectorTerms": []})), f"spec.pod.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms", "needs at least 1 entry"),
    Bad("a comparison of nodes by chance", pool(affinity("nodeAffinity", REQUIRED, node_terms({"key": "a", "operator": "Like", "values": ["b"]}))), f"spec.pod.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].operator", "must be 'In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt' or 'Lt'"),
    *(
        Bad(f"{operator} with {len(values)} values", pool(affinity("nodeAffinity", REQUIRED, node_terms({"key": "a", "operator": operator, "values": values}))), f"spec.pod.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].values", message)
        for operator, values, message in (
            ("In", [], "In needs at least one value: add it"),
            ("Exists", ["b"], "Exists takes no values: remove them"),
            ("Gt", ["1", "2"], "Gt needs exactly one value, an integer in quotes: correct it"),
        )
    ),
)  # fmt: skip
