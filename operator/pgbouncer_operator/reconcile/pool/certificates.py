"""Certificates that the spec names: the CA for connection Secrets, and what is missing. Pure."""

from collections.abc import Mapping
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.access import Endpoint
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.reconcile.cache import servers
from pgbouncer_operator.reconcile.memory import Missing

Named = tuple[str, str]  # kind and name of an object in the pool's namespace
Bodies = Mapping[Named, Mapping[str, Any] | None]  # objects as read; None: no such object


def named(pool: ConnectionPool) -> set[Named]:
    """The objects with certificates that the spec names."""
    objects = {(source[0], source[1]) for source in [_backend_source(pool)] if source}
    if pool.spec.clients.tls:
        objects.add(("Secret", pool.spec.clients.tls.secret_name))
    return objects


def authorities(pool: ConnectionPool, bodies: Bodies) -> dict[Endpoint, str]:
    """For each endpoint the CA, in PEM, that verifies its certificate; without those that the operator cannot read."""
    texts = {}
    if tls := pool.spec.clients.tls:
        texts[Endpoint.POOL] = _text(bodies, ("Secret", tls.secret_name), naming.CA_KEY)
    if source := _backend_source(pool):
        kind, name, key = source
        texts[Endpoint.BACKEND] = _text(bodies, (kind, name), key)
    return {endpoint: text for endpoint, text in texts.items() if text}


def missing(pool: ConnectionPool, bodies: Bodies) -> Missing | None:
    """The first object or key that pods need and that does not exist, with the remedy. None when all exist."""
    if source := _backend_source(pool):
        kind, name, key = source
        reference = "secretKeyRef" if kind == "Secret" else "configMapKeyRef"
        if sentence := _lack(bodies, (kind, name), (key,)):
            return Missing(Reason.CA_NOT_FOUND, f"{sentence} Create it, or correct backend.tls.ca.{reference}.")
    tls = pool.spec.clients.tls
    if tls and (sentence := _lack(bodies, ("Secret", tls.secret_name), naming.TLS_KEYS)):
        return Missing(Reason.TLS_SECRET_NOT_FOUND, f"{sentence} Create it, or correct clients.tls.secretName.")
    return None


def _backend_source(pool: ConnectionPool) -> tuple[str, str, str] | None:
    """Kind, name and key of the CA that verifies the server; None when the spec names none."""
    ca = pool.spec.backend.ca
    if ca is not None and ca.secret_key_ref:
        return "Secret", ca.secret_key_ref.name, ca.secret_key_ref.key
    if ca is not None and ca.config_map_key_ref:
        return "ConfigMap", ca.config_map_key_ref.name, ca.config_map_key_ref.key
    return None


def _lack(bodies: Bodies, named: Named, keys: tuple[str, ...]) -> str:
    """A sentence about the object, or the first of these keys, that is missing; "" when nothing is."""
    body, (kind, name) = bodies.get(named), named
    if body is None:
        return f"{kind} {name} does not exist."
    data = {**(body.get("binaryData") or {}), **(body.get("data") or {})}
    for key in keys:
        if not data.get(key):
            return f"{kind} {name} has no key {key}; found: {', '.join(sorted(data)) or 'nothing'}."
    return ""


def _text(bodies: Bodies, named: Named, key: str) -> str:
    """The certificates at a key, and nothing else of it: whoever may write pools may name any key of any Secret."""
    return servers.certificates(servers.certificate_text(bodies.get(named) or {}, named[0], key))
