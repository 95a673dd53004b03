"""Where a Service of the cluster leads, and when pods are told to renew their server connections because of it. Pure.

A Service's address stays the same when a failover moves it to another pod, so PgBouncer keeps its connections to the
former one. The pod's annotation holds the addresses that it was last told of, so a restart of the operator forgets
nothing and writes nothing.
"""

from collections.abc import Iterable, Mapping

Service = tuple[str, str]  # namespace, name
MOST = 64  # addresses in an annotation; a Service with more is no server's


def service(host: str, namespace: str) -> Service | None:
    """The Service that a host means inside the cluster, None when it can be none.

    `name`, `name.namespace` and `name.namespace.svc[.anything]`. A name that no Service has leads nowhere and is never
    acted on: `db.example` could be one.
    """
    name, *rest = host.rstrip(".").split(".")
    if not name or not all(rest) or ":" in host:
        return None
    if not rest:
        return (namespace, name)
    return (rest[0], name) if len(rest) == 1 or rest[1] == "svc" else None


def address(host: str, port: object, namespace: str) -> str:
    """One name for all ways to write a host, so that a pool that goes round a server's budget is noticed."""
    found = service(host, namespace)
    return f"{'/'.join(found) if found else host.rstrip('.').lower()}:{port}"


def ready(slices: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Every address that takes connections now, sorted."""
    return tuple(sorted({address for each in slices for address in each})[:MOST])


def token(service: Service | None, now: tuple[str, ...] | None) -> str:
    """The annotation's value: the Service and its ready addresses; empty while there is none or they are unknown."""
    return f"{'/'.join(service)}={','.join(now)}" if service and now else ""


def same_service(one: str, other: str) -> bool:
    """Whether two tokens are of one Service."""
    return one.partition("=")[0] == other.partition("=")[0]


def lost(told: str, now: str) -> bool:
    """Whether an address that was told went away while the Service leads elsewhere.

    Addresses that are added take nothing away; while there is none at all, there is nothing to connect to; another
    Service is another configuration, which renews connections by itself.
    """
    before, after = (set(each.partition("=")[2].split(",")) for each in (told, now))
    return bool(told and now) and same_service(told, now) and bool(before - after)


def addresses(body: Mapping[str, object]) -> tuple[str, ...]:
    """The ready addresses of an EndpointSlice, sorted. A condition that is not said is true, by the API's rule."""
    found: set[str] = set()
    endpoints = body.get("endpoints")
    for each in endpoints if isinstance(endpoints, list) else ():
        if (each.get("conditions") or {}).get("ready") is not False:
            found.update(each.get("addresses") or ())
    return tuple(sorted(found))
