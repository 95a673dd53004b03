"""PostgresServers that are good and such that are bad, in one table for everybody who judges them; see `pools`."""
# ruff: noqa: E501  one row a line, or nobody reads the table

from typing import Any

from tests.contract.pools import CA, HOST, KEY_NAME, OBJECT_NAME, ONE_CA, UNQUOTED, Bad, Object


def server(**spec: Any) -> Object:
    """A server of 100 connections, with other fields; None leaves one out."""
    fields = {"host": "main.example.com", "connections": {"max": 100}} | spec
    return {
        "apiVersion": "pgbouncer-operator.io/v1alpha1",
        "kind": "PostgresServer",
        "metadata": {"name": "rds", "namespace": "default"},
        "spec": {key: value for key, value in fields.items() if value is not None},
    }


def of_selector(labels: Object) -> Object:
    return server(allowedNamespaces={"from": "Selector", "selector": {"matchLabels": labels}})


def monitoring(**fields: Any) -> Object:
    return server(monitoring={"secretRef": {"name": "pg-monitor"}, **fields})


SHARE: Object = {"namespace": "shop", "guaranteed": 20, "max": 60, "weight": 30}

GOOD: tuple[tuple[str, Object], ...] = (
    ("host and maximum", server()),
    ("everything", server(port=5433, tls={"mode": "verify-full", "ca": CA}, connections={"max": 400, "unpooled": 30, "headroomPercent": 10}, allowedNamespaces={"from": "Selector", "selector": {"matchLabels": {"db": "rds"}}}, defaultShare={"guaranteed": 6, "max": 40, "weight": 10}, shares=[SHARE, {"namespace": "bank"}], monitoring={"secretRef": {"name": "pg-monitor"}, "usernameKey": "login", "passwordKey": "pw", "database": "app"})),
    ("a maximum that is read", server(connections=None, monitoring={"secretRef": {"name": "pg-monitor"}})),
    ("a maximum that is read, and more unpooled than anybody knows", server(connections={"unpooled": 500}, monitoring={"secretRef": {"name": "pg-monitor"}})),
    ("neither a maximum nor a login, which is told in status", server(connections=None)),
    ("all but one unpooled", server(connections={"max": 10, "unpooled": 9})),
    ("a share with a maximum only", server(shares=[{"namespace": "shop", "max": 5}])),
    ("a share that is all guaranteed", server(defaultShare={"guaranteed": 5, "max": 5})),
    ("a guarantee without a maximum", server(shares=[{"namespace": "shop", "guaranteed": 5}])),
    ("every namespace", server(allowedNamespaces={"from": "All"})),
    ("an IPv6 address", server(host="2001:db8::1")),
    ("the most of everything", server(port=65535, connections={"max": 10000, "unpooled": 9999, "headroomPercent": 90}, defaultShare={"guaranteed": 10000, "max": 10000, "weight": 1000})),
)  # fmt: skip

AT_LEAST = "must be greater than or equal to {}"
AT_MOST = "must be less than or equal to {}"
NAMESPACE = "must match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
BOTH = "selector and from: Selector belong together: give both or neither"
GUARANTEED = "guaranteed is more than max: lower guaranteed or raise max"


def least(sentence: str, field: str, bound: int, **spec: Any) -> Bad:
    """A number below its bound."""
    return Bad(
        sentence,
        server(**spec),
        field,
        AT_LEAST.format(bound),
        f"{field} in body should be greater than or equal to {bound}",
    )


def most(sentence: str, field: str, bound: int, **spec: Any) -> Bad:
    """A number above its bound."""
    return Bad(
        sentence,
        server(**spec),
        field,
        AT_MOST.format(bound),
        f"{field} in body should be less than or equal to {bound}",
    )


BAD: tuple[Bad, ...] = (
    Bad("no host", server(host=None), "spec.host", "is required: add it", "Required value"),
    Bad("a host with a port", server(host="main:5432"), "spec.host", HOST),
    Bad("a newline in a host", server(host="main\nx"), "spec.host", HOST),
    Bad("a port as text", server(port="5432"), "spec.port", "must be of type integer", 'spec.port in body must be of type integer: "string"'),
    least("no port", "spec.port", 1, port=0),
    most("a port out of range", "spec.port", 65535, port=65536),
    Bad("an unknown TLS mode", server(tls={"mode": "prefer"}), "spec.tls.mode", "must be 'disable', 'require', 'verify-ca' or 'verify-full'", 'supported values: "disable", "require", "verify-ca", "verify-full"'),
    Bad("a CA with TLS off", server(tls={"mode": "disable", "ca": CA}), "spec.tls.ca", "ca has no effect when mode is disable: remove ca, or choose mode verify-full"),
    Bad("verification without a CA", server(tls={"mode": "verify-ca"}), "spec.tls.ca", "mode verify-ca and verify-full need a CA to verify with: set ca, for public CAs {system: true}"),
    Bad("a CA of no source", server(tls={"ca": {}}), "spec.tls.ca", ONE_CA),
    Bad("a CA of two sources", server(tls={"ca": {**CA, "system": True}}), "spec.tls.ca", ONE_CA),
    least("no connections", "spec.connections.max", 1, connections={"max": 0}),
    most("more connections than anybody has", "spec.connections.max", 10000, connections={"max": 10001}),
    least("fewer than none unpooled", "spec.connections.unpooled", 0, connections={"max": 9, "unpooled": -1}),
    most("more unpooled than anybody has", "spec.connections.unpooled", 10000, connections={"unpooled": 10001}),
    Bad("all of them unpooled", server(connections={"max": 5, "unpooled": 5}), "spec.connections.unpooled", "unpooled leaves nothing for pools: lower it below max"),
    least("less than no headroom", "spec.connections.headroomPercent", 0, connections={"max": 9, "headroomPercent": -1}),
    most("nothing but headroom", "spec.connections.headroomPercent", 90, connections={"max": 9, "headroomPercent": 91}),
    Bad("consent by chance", server(allowedNamespaces={"from": "Some"}), "spec.allowedNamespaces.from", "must be 'Same', 'All' or 'Selector'", 'supported values: "Same", "All", "Selector"'),
    Bad("a selector that nobody asks", server(allowedNamespaces={"selector": {"matchLabels": {"db": "rds"}}}), "spec.allowedNamespaces.selector", BOTH),
    Bad("a selector beside all", server(allowedNamespaces={"from": "All", "selector": {"matchLabels": {"db": "rds"}}}), "spec.allowedNamespaces.selector", BOTH),
    Bad("consent by a selector that is not there", server(allowedNamespaces={"from": "Selector"}), "spec.allowedNamespaces.selector", BOTH),
    Bad("a selector of no labels", of_selector({}), "spec.allowedNamespaces.selector.matchLabels", "needs at least 1 entry", "should have at least 1 properties"),
    Bad("a selector of too many labels", of_selector({f"a{number}": "b" for number in range(17)}), "spec.allowedNamespaces.selector.matchLabels", "may have at most 16 entries", "Too many"),
    Bad("a label with a line break", of_selector({"db": "a\nb"}), "spec.allowedNamespaces.selector.matchLabels.db", "must match ^([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?$", "should match"),
    least("less than no guarantee", "spec.defaultShare.guaranteed", 0, defaultShare={"guaranteed": -1}),
    most("a guarantee that nobody can keep", "spec.defaultShare.guaranteed", 10000, defaultShare={"guaranteed": 10001}),
    least("a share of nothing", "spec.defaultShare.max", 1, defaultShare={"max": 0}),
    most("a share of more than anybody has", "spec.defaultShare.max", 10000, defaultShare={"max": 10001}),
    least("no weight", "spec.defaultShare.weight", 1, defaultShare={"weight": 0}),
    most("too much weight", "spec.defaultShare.weight", 1000, defaultShare={"weight": 1001}),
    Bad("more guaranteed than may be held", server(defaultShare={"guaranteed": 5, "max": 4}), "spec.defaultShare.guaranteed", GUARANTEED),
    Bad("more guaranteed to a namespace than it may hold", server(shares=[{**SHARE, "max": 19}]), "spec.shares[0].guaranteed", GUARANTEED),
    Bad("a share of nobody", server(shares=[{"max": 5}]), "spec.shares[0].namespace", "is required: add it", "Required value"),
    Bad("a share of no namespace", server(shares=[{"namespace": "Shop"}]), "spec.shares[0].namespace", NAMESPACE, "should match"),
    Bad("two shares of one namespace", server(shares=[SHARE, {"namespace": "shop"}]), "spec.shares[1]", "two entries have the namespace shop; give each entry its own", 'Duplicate value: {"namespace":"shop"}'),
    Bad("too many shares", server(shares=[{"namespace": f"team-{number}"} for number in range(257)]), "spec.shares", "may have at most 256 entries", "Too many"),
    Bad("a login of no Secret", server(monitoring={}), "spec.monitoring.secretRef", "is required: add it", "Required value"),
    Bad("a login of a Secret with a line break", server(monitoring={"secretRef": {"name": "a\nb"}}), "spec.monitoring.secretRef.name", OBJECT_NAME),
    Bad("a login key with a slash", monitoring(usernameKey="../a"), "spec.monitoring.usernameKey", KEY_NAME, "should match"),
    Bad("a password key with a blank", monitoring(passwordKey="pass word"), "spec.monitoring.passwordKey", KEY_NAME, "should match"),
    Bad("a login to a database with a quote", monitoring(database="o'shop"), "spec.monitoring.database", UNQUOTED),
    Bad("a login to a database of too many bytes", monitoring(database="ü" * 32), "spec.monitoring.database", "is longer than 63 bytes, which PostgreSQL and PgBouncer cannot tell apart: shorten it"),
)  # fmt: skip
