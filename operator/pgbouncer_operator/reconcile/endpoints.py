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


def ready(slices: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Every address that takes connections now, sorted."""
    return tuple(sorted({address for each in slices for address in each})[:MOST])


def token(told: str, known: tuple[str, ...], now: tuple[str, ...]) -> str | None:
    """The token that makes a pod renew its connections; None when it should not.

    told: the token it has, empty when it has none: then what was `known` before counts. Addresses that are added take
    nothing away; while there is none at all, there is nothing to connect to.
    """
    before = set(told.split(",")) if told else set(known)
    return written(now) if now and before - set(now) else None


def written(addresses: tuple[str, ...]) -> str:
    """Addresses as a token."""
    return ",".join(addresses)


def addresses(body: Mapping[str, object]) -> tuple[str, ...]:
    """The ready addresses of an EndpointSlice, sorted. A condition that is not said is true, by the API's rule."""
    found: set[str] = set()
    endpoints = body.get("endpoints")
    for each in endpoints if isinstance(endpoints, list) else ():
        if (each.get("conditions") or {}).get("ready") is not False:
            found.update(each.get("addresses") or ())
    return tuple(sorted(found))
