"""Where a Service leads, and when pods have to renew their server connections because of it. Pure.

A Service keeps its address when a failover moves it to another pod, so PgBouncer keeps its connections to the former
pod. An annotation of the pool's pod holds the addresses that it was last told to connect to. It survives a restart of
the operator, so that a restart misses no failover and writes nothing.
"""

from collections.abc import Iterable, Mapping

Service = tuple[str, str]  # namespace, name
MOST = 64  # addresses in an annotation; a PostgreSQL server has fewer


def service(host: str, namespace: str) -> Service | None:
    """The Service that a host names inside the cluster; None when it cannot be one.

    A Service is named by `name`, `name.namespace` or `name.namespace.svc[.anything]`. `db.example` could be a Service
    or not: a name without a Service has no slices, so nothing ever follows from it.
    """
    name, *rest = host.rstrip(".").split(".")
    if not name or not all(rest) or ":" in host:
        return None
    if not rest:
        return (namespace, name)
    return (rest[0], name) if len(rest) == 1 or rest[1] == "svc" else None


def address(host: str, port: object, namespace: str) -> str:
    """One spelling for all ways to name a host and a port: it finds pools that name a server's host directly."""
    named = service(host, namespace)
    return f"{'/'.join(named) if named else host.rstrip('.').lower()}:{port}"


def spelled(host: str) -> str:
    """`host:port` in that spelling. A host in a cluster has its namespace: `postgres.shop.svc:5432`."""
    name, _, port = host.rpartition(":")
    return address(name, port, "")


def ready(slices: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """All addresses that accept connections now, sorted."""
    return tuple(sorted({address for each in slices for address in each})[:MOST])


def token(service: Service | None, now: tuple[str, ...] | None) -> str:
    """The annotation's value: the Service and its ready addresses; empty while there are none or they are unknown."""
    return f"{'/'.join(service)}={','.join(now)}" if service and now else ""


def same_service(one: str, other: str) -> bool:
    """Whether two tokens name one Service."""
    return one.partition("=")[0] == other.partition("=")[0]


def lost(before: str, now: str) -> bool:
    """Whether an address of `before` is gone while the Service leads elsewhere.

    Added addresses take nothing away. A Service without any address leaves nothing to connect to. Another Service is
    another configuration, which renews connections by itself.
    """
    old, new = (set(each.partition("=")[2].split(",")) for each in (before, now))
    return bool(before and now) and same_service(before, now) and bool(old - new)


def addresses(body: Mapping[str, object]) -> tuple[str, ...]:
    """The ready addresses of an EndpointSlice, sorted.

    A missing condition counts as true
    (https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions).
    """
    ready_: set[str] = set()
    endpoints = body.get("endpoints")
    for each in endpoints if isinstance(endpoints, list) else ():
        if (each.get("conditions") or {}).get("ready") is not False:
            ready_.update(each.get("addresses") or ())
    return tuple(sorted(ready_))
