"""Pools that are good and pools that are bad, in one table for everybody who judges pools.

The models judge them in `tests/unit/api`, a real API server in `tests/controlplane`: both must give the same answer.
"""
# ruff: noqa: E501  one row a line, or nobody reads the table

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
Change = Callable[[Object], object]


def pool(change: Change | None = None, name: str = "shop-pool") -> Object:
    """The first example of the README, changed by `change(spec)`."""
    body: Object = {
        "apiVersion": "pgbouncer-operator.io/v1alpha1",
        "kind": "ConnectionPool",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "backend": {"host": "postgres"},
            "databases": [{"name": "shop"}],
            "users": [{"name": "shop", "secretRef": {"name": "shop-db"}}],
            "serverConnections": {"max": 25},
        },
    }
    if change:
        change(body["spec"])
    return copy.deepcopy(body)


@dataclass(frozen=True, slots=True)
class Bad:
    """A pool that must be refused: what the user is told, and `server` where the API server has its own words."""

    sentence: str
    body: Object
    field: str
    message: str
    server: str | None = None


def put(**fields: Any) -> Change:
    """Replace fields of the spec."""
    return lambda spec: spec.update(copy.deepcopy(fields))


def database(**fields: Any) -> Change:
    """Replace fields of the only database."""
    return lambda spec: spec["databases"][0].update(fields)


def user(**fields: Any) -> Change:
    """Replace fields of the only user."""
    return lambda spec: spec["users"][0].update(fields)


def backend(**fields: Any) -> Change:
    """Replace fields of the backend."""
    return lambda spec: spec["backend"].update(fields)


def connections(**sizing: Any) -> Change:
    """Choose how the limit on server connections is used."""
    return put(serverConnections={"max": 25, "sizing": sizing})


def following(*workloads: Object) -> Change:
    """Let server connections follow these clients, three for each replica."""

    def change(spec: Object) -> None:
        connections(mode="Workloads", perClientReplica=3)(spec)
        spec["clients"] = {"workloads": list(workloads)}

    return change


def parameters(**fields: Any) -> Change:
    """Set parameters."""
    return put(parameters=fields)


SECRET: Object = {"name": "shop-app", "database": "shop", "user": "shop"}
CA: Object = {"secretKeyRef": {"name": "shop-ca", "key": "ca.crt"}}
TLS: Object = {"secretName": "shop-pool-tls"}
LOOKUP: Object = {"secretRef": {"name": "lookup"}, "database": "shop"}

GOOD: tuple[tuple[str, Object], ...] = (
    ("the first example", pool()),
    ("an IPv4 address", pool(backend(host="198.18.0.1"))),
    ("an IPv6 address", pool(backend(host="2001:db8::1"))),
    ("a host name with dots and an underscore", pool(backend(host="main_db.Example.com"))),
    ("the longest name", pool(name="a" * 40)),
    ("no pods", pool(put(replicas=0))),
    ("more pods than fit", pool(put(replicas=500))),
    ("TLS off", pool(backend(tls={"mode": "disable"}))),
    ("a CA without a mode", pool(backend(tls={"ca": CA}))),
    ("a public CA", pool(backend(tls={"mode": "verify-full", "ca": {"system": True}}))),
    ("a CA in a ConfigMap", pool(backend(tls={"ca": {"configMapKeyRef": {"name": "rds-ca", "key": "ca.pem"}}}))),
    ("an unused CA with require", pool(backend(tls={"mode": "require", "ca": CA}))),
    ("a database name with blanks, @ and umlauts", pool(database(name="mein Läden@2", backendName="läden"))),
    ("two ports for one database", pool(put(databases=[{"name": "a"}, {"name": "b", "backendName": "a", "poolMode": "session"}]))),
    ("a server that is shared", pool(put(backend={"serverRef": {"name": "rds", "namespace": "platform"}}, serverConnections={}))),
    ("a part of a server that is shared", pool(put(backend={"serverRef": {"name": "rds"}}, serverConnections={"max": 5}))),
    ("a server in a Secret", pool(put(backend={"secretRef": {"name": "neon"}}, databases=None, users=None))),
    ("a URL in a Secret", pool(lambda spec: put(backend={"secretRef": {"name": "neon", "urlKey": "DATABASE_URL"}}, connectionSecrets=[{**SECRET, "user": "default"}])(spec) or [spec.pop(each) for each in ("databases", "users")])),
    ("a login in a Secret and a host", pool(put(backend={"host": "postgres", "port": 6432, "secretRef": {"name": "shop.cluster"}, "tls": {"mode": "require"}}, users=None))),
    ("a login in a URL", pool(user(urlKey="DATABASE_URL"))),
    ("one Secret for two users", pool(put(users=[{"name": each, "secretRef": {"name": "db"}} for each in "ab"]))),
    ("two logins in one Secret", pool(put(users=[{"name": "a", "secretRef": {"name": "db"}}, {"name": "b", "secretRef": {"name": "db"}, "usernameKey": "login"}]))),
    ("caps", pool(lambda spec: (database(serverConnections={"max": 5})(spec), user(serverConnections={"max": 5})(spec)))),
    ("a null where a default applies", pool(put(drain=None, clients={"maxPerPod": None}))),
    ("numbers as strings", pool(parameters(max_prepared_statements="500", server_check_delay="1.5", tcp_keepalive="1"))),
    ("numbers", pool(parameters(max_prepared_statements=500, server_check_delay=1, tcp_keepalive=1))),
    ("texts and lists", pool(parameters(server_reset_query="RESET ALL", ignore_startup_parameters="options, search_path"))),
    ("connection Secrets", pool(put(connectionSecrets=[SECRET, {**SECRET, "name": "m", "endpoint": "Backend"}]))),
    ("no connection Secrets", pool(put(connectionSecrets=[]))),
    ("a dressed Service", pool(put(service={"port": 5432, "labels": {"a.b/c": "d"}, "annotations": {"a": "b: {c}"}, "externalHost": "db.example.com"}))),
    ("TLS towards clients", pool(put(clients={"tls": TLS}))),
    ("TLS that clients may leave out", pool(put(clients={"tls": {**TLS, "mode": "prefer"}}))),
    ("a Service on every node", pool(put(service={"type": "NodePort"}, clients={"tls": TLS}))),
    ("a load balancer", pool(put(service={"type": "LoadBalancer", "loadBalancerClass": "example.com/internal", "loadBalancerSourceRanges": ["10.0.0.0/8", "10.1.2.3/8", "2001:db8::/32", "0.0.0.0/0"]}, clients={"tls": TLS}))),
    ("logins looked up", pool(put(authQuery=LOOKUP))),
    ("logins looked up by a function of one's own", pool(put(authQuery={**LOOKUP, "function": "my_schema._find2", "usernameKey": "login", "passwordKey": "pw"}))),
    ("a pause", pool(put(traffic="Paused", pauseTimeoutSeconds=3600))),
    ("upgrades without asking", pool(put(upgradePolicy="Automatic"))),
    ("a shaped pod", pool(put(pod={
        "resources": {"requests": {"cpu": 1, "memory": "1e6"}, "limits": {"memory": "256Mi"}},
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
        "priorityClassName": "high", "labels": {"team": "shop"}, "annotations": {"note": "ü"},
        "imagePullSecrets": [{"name": "registry"}],
        "agentResources": {"limits": {"cpu": "500m", "memory": "128Mi"}},
        "securityContext": {"runAsUser": 1000770001, "runAsGroup": 0, "fsGroup": 1000770001},
    }))),
    ("ids left to the platform", pool(put(pod={"securityContext": {}}))),
    ("a field of a later version", pool(put(someday={"much": 1}))),
    ("a size by demand", pool(connections(mode="Demand", min=2))),
    ("a least of all there is", pool(connections(mode="Demand", min=25))),
    ("a size by clients", pool(following({"kind": "Deployment", "name": "web"}, {"name": "web"}, {"selector": {"matchLabels": {"app": "web"}}}, {"kind": "StatefulSet", "selector": {"matchLabels": {"a.b/c": ""}}}))),
    ("a share of a server, by clients", pool(put(backend={"serverRef": {"name": "rds"}}, serverConnections={"sizing": {"mode": "Workloads", "perClientReplica": 3}}, clients={"workloads": [{"name": "web"}]}))),
    ("a share of a server and a least", pool(put(backend={"serverRef": {"name": "rds"}}, serverConnections={"sizing": {"mode": "Demand", "min": 3}}))),
    ("a share of a server and nothing else", pool(lambda spec: (put(backend={"serverRef": {"name": "rds"}})(spec), spec.pop("serverConnections")))),
    ("clients that nothing follows", pool(put(clients={"workloads": [{"name": "web"}]}))),
)  # fmt: skip

HOST = (
    "must be one DNS name or one IP address: no port, no brackets, no list, no dot at the end, no spaces or line breaks"
)
QUANTITY = 'must be a quantity such as 100m, "0.5" or 128Mi, with quotes around a number that has a point'
UNQUOTED = "must not contain quotes (') or control characters such as line breaks: remove them"
RESERVED = (
    "pgbouncer and pgbouncer-lookup are the pods' own and * would escape the connection limit: choose another name"
)
OBJECT_NAME = "must be a name of lower-case letters, digits, '-' and '.'"
KEY_NAME = "must match ^[-._A-Za-z0-9]+$"
ONE_SERVER = "backend needs either host or secretRef, or serverRef alone: keep one and remove the other"
UNPROTECTED = "type NodePort and LoadBalancer need clients.tls with mode require: set it, or keep type ClusterIP"
BALANCER = "loadBalancerClass and loadBalancerSourceRanges need type LoadBalancer: set it, or remove them"
CIDR = "must be a network in CIDR notation, such as 10.0.0.0/8 or 2001:db8::/32"
FUNCTION = "must be schema.function: two names of lower-case letters, digits and '_', never SQL"
HANDLE = "must be lower-case letters, digits and '-', and start and end with a letter or digit"
NOBODY_TO_FOLLOW = "sizing mode Workloads follows clients.workloads, which names none: add your clients' Deployment"
NAME_OR_SELECTOR = "a workload needs either name or selector: keep one of them"
POOL_NAME = (
    "must be at most 40 characters, lower-case letters, digits and '-', starting with a letter, because "
    "the Service and the pods are named after it: choose another name"
)
ONE_CA = "ca needs exactly one of secretKeyRef, configMapKeyRef and system: keep one and remove the others"
SETTING = "must be an integer, or a string without control characters and without blanks at its ends"

BAD: tuple[Bad, ...] = (
    Bad("a name that is too long", pool(name="a" * 41), "metadata.name", POOL_NAME),
    Bad("a name that starts with a digit", pool(name="1pool"), "metadata.name", POOL_NAME),
    Bad("a name with a dot", pool(name="shop.pool"), "metadata.name", POOL_NAME),
    Bad("a newline in a host", pool(backend(host="postgres\nadmin_users=shop")), "spec.backend.host", HOST),
    Bad("a host with a port", pool(backend(host="postgres:5432")), "spec.backend.host", HOST),
    Bad("a list of hosts", pool(backend(host="a,b")), "spec.backend.host", HOST),
    Bad("a socket directory as host", pool(backend(host="/run/postgresql")), "spec.backend.host", HOST),
    Bad("half an IPv4 address", pool(backend(host="10.0.0.999")), "spec.backend.host", HOST),
    Bad("half an IPv6 address", pool(backend(host="2001:db8")), "spec.backend.host", HOST),
    Bad("an IPv6 address with a zone", pool(backend(host="fe80::1%eth0")), "spec.backend.host", HOST),
    Bad("no host", pool(lambda spec: spec["backend"].pop("host")), "spec.backend", ONE_SERVER),
    Bad("a host and a server", pool(backend(serverRef={"name": "rds"})), "spec.backend", ONE_SERVER),
    Bad("TLS beside a server", pool(put(backend={"serverRef": {"name": "rds"}, "tls": {"mode": "disable"}})), "spec.backend.tls", "tls belongs to the PostgresServer that serverRef names: remove it here"),
    Bad("a server in a namespace of two lines", pool(put(backend={"serverRef": {"name": "rds", "namespace": "a\nb"}})), "spec.backend.serverRef.namespace", "must match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "should match"),
    Bad("a port as text", pool(backend(port="5432")), "spec.backend.port", "must be of type integer", 'spec.backend.port in body must be of type integer: "string"'),
    Bad("a port out of range", pool(backend(port=70000)), "spec.backend.port", "must be less than or equal to 65535", "spec.backend.port in body should be less than or equal to 65535"),
    Bad("an unknown TLS mode", pool(backend(tls={"mode": "prefer"})), "spec.backend.tls.mode", "must be 'disable', 'require', 'verify-ca' or 'verify-full'", 'supported values: "disable", "require", "verify-ca", "verify-full"'),
    Bad("a CA with TLS off", pool(backend(tls={"mode": "disable", "ca": CA})), "spec.backend.tls.ca", "ca has no effect when mode is disable: remove ca, or choose mode verify-full"),
    Bad("verification without a CA", pool(backend(tls={"mode": "verify-full"})), "spec.backend.tls.ca", "mode verify-ca and verify-full need a CA to verify with: set ca, for public CAs {system: true}"),
    Bad("a CA of no source", pool(backend(tls={"ca": {}})), "spec.backend.tls.ca", ONE_CA),
    Bad("a CA of two sources", pool(backend(tls={"ca": {**CA, "system": True}})), "spec.backend.tls.ca", ONE_CA),
    Bad("a CA that is not the system's", pool(backend(tls={"ca": {"system": False}})), "spec.backend.tls.ca.system", "must be True", 'supported values: "true"'),
    Bad("a CA key with a slash", pool(backend(tls={"ca": {"secretKeyRef": {"name": "a", "key": "../b"}}})), "spec.backend.tls.ca.secretKeyRef.key", KEY_NAME, "should match"),
    Bad("a database named like the console", pool(database(name="pgbouncer")), "spec.databases[0].name", RESERVED),
    Bad("a database named like the look-up", pool(database(name="pgbouncer-lookup")), "spec.databases[0].name", RESERVED),
    Bad("a catch-all database", pool(database(name="*")), "spec.databases[0].name", RESERVED),
    Bad("a newline in a database name", pool(database(name="a\nb")), "spec.databases[0].name", UNQUOTED),
    Bad("a quote in a database name", pool(database(name="o'shop")), "spec.databases[0].name", UNQUOTED),
    Bad("a C1 control character in a database name", pool(database(name="a\x85b")), "spec.databases[0].name", UNQUOTED),
    Bad("a quote in a backend's database name", pool(database(backendName="o'shop")), "spec.databases[0].backendName", UNQUOTED),
    Bad("a database name of too many bytes", pool(database(name="ü" * 32)), "spec.databases[0].name", "is longer than 63 bytes, which PostgreSQL and PgBouncer cannot tell apart: shorten it"),
    Bad("an unknown pool mode", pool(database(poolMode="Transaction")), "spec.databases[0].poolMode", "must be 'session', 'transaction' or 'statement'", 'supported values: "session", "transaction", "statement"'),
    Bad("two databases of one name", pool(put(databases=[{"name": "a"}, {"name": "a"}])), "spec.databases[1]", "two entries have the name a; give each entry its own", 'Duplicate value: {"name":"a"}'),
    Bad("no database", pool(put(databases=[])), "spec.databases", "needs at least 1 entry", "spec.databases in body should have at least 1 items"),
    Bad("no users", pool(lambda spec: spec.pop("users")), "spec.users", "users is required without backend.secretRef: add it"),
    Bad("no databases", pool(lambda spec: spec.pop("databases")), "spec.databases", "databases is required without backend.secretRef: add it"),
    Bad("a Secret and a PostgresServer", pool(put(backend={"secretRef": {"name": "neon"}, "serverRef": {"name": "rds"}})), "spec.backend", ONE_SERVER),
    Bad("a port beside a Secret", pool(put(backend={"secretRef": {"name": "neon"}, "port": 6543})), "spec.backend.port", "port belongs to host, and the Secret has its own: remove port, or add host"),
    Bad("a Secret of no name", pool(put(backend={"secretRef": {}})), "spec.backend.secretRef.name", "is required: add it", "Required value"),
    Bad("a Secret and no limit", pool(put(backend={"secretRef": {"name": "neon"}}, serverConnections={})), "spec.serverConnections", "serverConnections.max is required without backend.serverRef: add it"),
    Bad("a URL and a key for the password", pool(user(urlKey="uri", passwordKey="password")), "spec.users[0]", "urlKey names login and password: remove usernameKey and passwordKey"),
    Bad("the key of a URL with a blank", pool(user(urlKey="a b")), "spec.users[0].urlKey", KEY_NAME, "should match"),
    Bad("a user with capitals", pool(user(name="Shop")), "spec.users[0].name", HANDLE),
    Bad("a Secret with a newline in its name", pool(user(secretRef={"name": "a\nb"})), "spec.users[0].secretRef.name", OBJECT_NAME),
    Bad("a password key with a blank", pool(user(passwordKey="pass word")), "spec.users[0].passwordKey", KEY_NAME, "should match"),
    Bad("no connections", pool(put(serverConnections={"max": 0})), "spec.serverConnections.max", "must be greater than or equal to 1", "spec.serverConnections.max in body should be greater than or equal to 1"),
    Bad("no limit", pool(lambda spec: spec.pop("serverConnections")), "spec.serverConnections", "serverConnections.max is required without backend.serverRef: add it"),
    Bad("a number where an object belongs", pool(put(serverConnections=25)), "spec.serverConnections", "must be an object", 'spec.serverConnections in body must be of type object: "integer"'),
    Bad("negative pods", pool(put(replicas=-1)), "spec.replicas", "must be greater than or equal to 0", "spec.replicas in body should be greater than or equal to 0"),
    Bad("a negative timeout", pool(put(timeouts={"querySeconds": -1})), "spec.timeouts.querySeconds", "must be greater than or equal to 0", "spec.timeouts.querySeconds in body should be greater than or equal to 0"),
    Bad("a connection Secret for no database", pool(put(connectionSecrets=[{**SECRET, "database": "web"}])), "spec.connectionSecrets", "connectionSecrets names the database web, which is not in spec.databases: add or correct it"),
    Bad("a connection Secret for no user", pool(put(connectionSecrets=[{**SECRET, "user": "web"}])), "spec.connectionSecrets", "connectionSecrets names the user web, which is not in spec.users: add or correct it"),
    Bad("an unknown endpoint", pool(put(connectionSecrets=[{**SECRET, "endpoint": "Direct"}])), "spec.connectionSecrets[0].endpoint", "must be 'Pool' or 'Backend'", 'supported values: "Pool", "Backend"'),
    Bad("an unknown setting", pool(parameters(server_idle_timout=5)), "spec.parameters", "server_idle_timout is not a setting of PgBouncer: correct its spelling, in lower case, or remove it"),
    Bad("a setting in capitals", pool(parameters(TCP_KEEPALIVE=1)), "spec.parameters", "TCP_KEEPALIVE is not a setting of PgBouncer: correct its spelling, in lower case, or remove it"),
    Bad("a setting with a field of its own", pool(parameters(pool_mode="session")), "spec.parameters", "pool_mode follows from spec.poolMode: set that field and remove it"),
    Bad("a setting that follows from a field", pool(parameters(server_tls_sslmode="prefer")), "spec.parameters", "server_tls_sslmode follows from spec.backend.tls.mode: set that field and remove it"),
    Bad("a setting of the operator", pool(parameters(auth_type="trust")), "spec.parameters", "auth_type belongs to the operator, which needs its own value to work: remove it"),
    Bad("a setting out of range", pool(parameters(pkt_buf=1)), "spec.parameters", "pkt_buf must be an integer from 2048 to 65536: correct it or remove it"),
    Bad("a setting out of range as text", pool(parameters(pkt_buf="65537")), "spec.parameters", "pkt_buf must be an integer from 2048 to 65536: correct it or remove it"),
    Bad("a number with a leading zero", pool(parameters(pkt_buf="04096")), "spec.parameters", "pkt_buf must be an integer from 2048 to 65536: correct it or remove it"),
    Bad("a number as words", pool(parameters(pkt_buf="four")), "spec.parameters", "pkt_buf must be an integer from 2048 to 65536: correct it or remove it"),
    Bad("seconds with a unit", pool(parameters(server_check_delay="5m")), "spec.parameters", "server_check_delay must be a number of seconds, without a unit, from 0 to 86400: correct it or remove it"),
    Bad("a boolean of another language", pool(parameters(tcp_keepalive="on")), "spec.parameters", "tcp_keepalive must be 0 or 1: correct it or remove it"),
    Bad("a list with blanks for commas", pool(parameters(ignore_startup_parameters="a b")), "spec.parameters", "ignore_startup_parameters must be names and commas: correct it or remove it"),
    Bad("a TLS version of the past", pool(parameters(server_tls_protocols="tlsv1.0")), "spec.parameters", "server_tls_protocols must be words with commas between them, of secure, tlsv1.2, tlsv1.3: correct it or remove it"),
    Bad("a newline in a setting", pool(parameters(server_reset_query="SELECT 1\nadmin_users=x")), "spec.parameters.server_reset_query", SETTING, "should match"),
    Bad("a fraction that is no text", pool(parameters(server_check_delay=1.5)), "spec.parameters.server_check_delay", SETTING, "must be of type integer,string"),
    Bad("a label of the operator", pool(put(pod={"labels": {"pgbouncer-operator.io/pool": "x"}})), "spec.pod.labels", "pgbouncer-operator.io/pool belongs to the operator: remove it"),
    Bad("an annotation of the operator", pool(put(service={"annotations": {"pgbouncer-operator.io/config": "x"}})), "spec.service.annotations", "pgbouncer-operator.io/config belongs to the operator: remove it"),
    Bad("pods of root", pool(put(pod={"securityContext": {"runAsUser": 0}})), "spec.pod.securityContext.runAsUser", "must be greater than or equal to 1", "spec.pod.securityContext.runAsUser in body should be greater than or equal to 1"),
    Bad("a newline in an annotation", pool(put(pod={"annotations": {"a": "b\nc"}})), "spec.pod.annotations.a", "must match ^[^\\x00-\\x1f\\x7f-\\x9f]*$", "should match"),
    Bad("a host with a dot at its end", pool(backend(host="postgres.shop.svc.cluster.local.")), "spec.backend.host", HOST),
    Bad("an amount of CPU without quotes", pool(put(pod={"resources": {"limits": {"cpu": 0.5}}})), "spec.pod.resources.limits.cpu", QUANTITY, "must be of type integer,string"),
    Bad("an amount of memory in words", pool(put(pod={"resources": {"limits": {"memory": "much"}}})), "spec.pod.resources.limits.memory", QUANTITY, "should match"),
    Bad("a load balancer without TLS", pool(put(service={"type": "LoadBalancer"})), "spec.service", UNPROTECTED),
    Bad("a load balancer that lets clients leave TLS out", pool(put(service={"type": "LoadBalancer"}, clients={"tls": {**TLS, "mode": "prefer"}})), "spec.service", UNPROTECTED),
    Bad("a Service on every node without TLS", pool(put(service={"type": "NodePort"})), "spec.service", UNPROTECTED),
    Bad("a Service of no kind", pool(put(service={"type": "ExternalName"})), "spec.service.type", "must be 'ClusterIP', 'NodePort' or 'LoadBalancer'", 'supported values: "ClusterIP", "NodePort", "LoadBalancer"'),
    Bad("networks of no load balancer", pool(put(service={"loadBalancerSourceRanges": ["10.0.0.0/8"]})), "spec.service", BALANCER),
    Bad("the class of no load balancer", pool(put(service={"loadBalancerClass": "example.com/internal"})), "spec.service", BALANCER),
    *(Bad(f"the network {network}", pool(put(service={"type": "LoadBalancer", "loadBalancerSourceRanges": [network]}, clients={"tls": TLS})), "spec.service.loadBalancerSourceRanges[0]", CIDR) for network in ("10.0.0.1", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/255.0.0.0", "::ffff:10.0.0.0/104")),
    Bad("a network with a line break", pool(put(service={"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8\n"]}, clients={"tls": TLS})), "spec.service.loadBalancerSourceRanges[0]", "must match ^[0-9A-Fa-f.:/]+$", "should match"),
    Bad("a class with a blank", pool(put(service={"type": "LoadBalancer", "loadBalancerClass": "a b"}, clients={"tls": TLS})), "spec.service.loadBalancerClass", "must be a name such as example.com/internal"),
    Bad("TLS without a certificate", pool(put(clients={"tls": {}})), "spec.clients.tls.secretName", "is required: add it", "Required value"),
    Bad("TLS that is off", pool(put(clients={"tls": {**TLS, "mode": "disable"}})), "spec.clients.tls.mode", "must be 'require' or 'prefer'", 'supported values: "require", "prefer"'),
    Bad("logins looked up in no database", pool(put(authQuery={**LOOKUP, "database": "web"})), "spec.authQuery", "authQuery names the database web, which is not in spec.databases: add or correct it"),
    *(Bad(f"the function {name!r}", pool(put(authQuery={**LOOKUP, "function": name})), "spec.authQuery.function", FUNCTION) for name in ("lookup", "a.b.c", "Pgbouncer.lookup", "a.b(1)", "a.b; DROP TABLE c", "a.b\n", "")),
    Bad("a pause without a word for it", pool(put(traffic="paused")), "spec.traffic", "must be 'Flowing' or 'Paused'", 'supported values: "Flowing", "Paused"'),
    Bad("a pause without an end", pool(put(pauseTimeoutSeconds=0)), "spec.pauseTimeoutSeconds", "must be greater than or equal to 1", "spec.pauseTimeoutSeconds in body should be greater than or equal to 1"),
    Bad("a pause of more than an hour", pool(put(pauseTimeoutSeconds=3601)), "spec.pauseTimeoutSeconds", "must be less than or equal to 3600", "spec.pauseTimeoutSeconds in body should be less than or equal to 3600"),
    Bad("an upgrade by chance", pool(put(upgradePolicy="Sometimes")), "spec.upgradePolicy", "must be 'Manual' or 'Automatic'", 'supported values: "Manual", "Automatic"'),
    Bad("a certificate as a setting", pool(parameters(client_tls_key_file="x")), "spec.parameters", "client_tls_key_file follows from spec.clients.tls.secretName: set that field and remove it"),
    Bad("a setting that is not supported", pool(parameters(verbose=1)), "spec.parameters", "verbose is not supported by this operator: remove it"),
    Bad("a size by clients without a figure", pool(put(serverConnections={"max": 25, "sizing": {"mode": "Workloads"}}, clients={"workloads": [{"name": "web"}]})), "spec.serverConnections.sizing", "mode Workloads needs perClientReplica: set it to what one pod of your clients uses"),
    Bad("a size by clients without clients", pool(connections(mode="Workloads", perClientReplica=3)), "spec.clients", NOBODY_TO_FOLLOW),
    Bad("a size by an empty list of clients", pool(following()), "spec.clients", NOBODY_TO_FOLLOW),
    Bad("a least above the most", pool(connections(min=26)), "spec.serverConnections.sizing", "sizing.min is more than max: lower min or raise max"),
    Bad("a least of nothing", pool(connections(min=0)), "spec.serverConnections.sizing.min", "must be greater than or equal to 1", "spec.serverConnections.sizing.min in body should be greater than or equal to 1"),
    Bad("clients that use nothing", pool(put(serverConnections={"max": 25, "sizing": {"perClientReplica": 0}})), "spec.serverConnections.sizing.perClientReplica", "must be greater than or equal to 1", "spec.serverConnections.sizing.perClientReplica in body should be greater than or equal to 1"),
    Bad("too many workloads", pool(following(*({"name": f"web-{number}"} for number in range(17)))), "spec.clients.workloads", "may have at most 16 entries", "Too many"),
    Bad("more connections than anybody has", pool(put(serverConnections={"max": 10001})), "spec.serverConnections.max", "must be less than or equal to 10000", "spec.serverConnections.max in body should be less than or equal to 10000"),
    Bad("a server of no name", pool(put(backend={"serverRef": {}})), "spec.backend.serverRef.name", "is required: add it", "Required value"),
    Bad("a server with a line break in its name", pool(put(backend={"serverRef": {"name": "a\nb"}})), "spec.backend.serverRef.name", "must match ^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", "should match"),
    Bad("a size by chance", pool(connections(mode="Auto")), "spec.serverConnections.sizing.mode", "must be 'Fixed', 'Workloads' or 'Demand'", 'supported values: "Fixed", "Workloads", "Demand"'),
    Bad("a workload of no name", pool(following({"kind": "Deployment"})), "spec.clients.workloads[0]", NAME_OR_SELECTOR),
    Bad("a workload by name and by labels", pool(following({"name": "web", "selector": {"matchLabels": {"app": "web"}}})), "spec.clients.workloads[0]", NAME_OR_SELECTOR),
    Bad("a workload of a kind that has no replicas", pool(following({"kind": "DaemonSet", "name": "web"})), "spec.clients.workloads[0].kind", "must be 'Deployment', 'StatefulSet' or 'ReplicaSet'", 'supported values: "Deployment", "StatefulSet", "ReplicaSet"'),
    Bad("a workload with a line break", pool(following({"name": "web\n"})), "spec.clients.workloads[0].name", OBJECT_NAME),
    Bad("labels that select everything", pool(following({"selector": {"matchLabels": {}}})), "spec.clients.workloads[0].selector.matchLabels", "needs at least 1 entry", "should have at least 1 properties"),
    Bad("an external host with a port", pool(put(service={"externalHost": "a:1"})), "spec.service.externalHost", HOST),
)  # fmt: skip
