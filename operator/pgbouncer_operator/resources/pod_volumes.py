"""The volumes of a pool's pods and where the agent finds them."""

import hashlib
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.backend import CertificateAuthority
from pgbouncer_operator.api.connection_pool import ConnectionPool

RUN_BYTES = "32Mi"  # a configuration of 128 databases and users takes well under 1 MiB, and a candidate lies beside it


def volumes(pool: ConnectionPool) -> list[dict[str, Any]]:
    """Configuration, grants, Secrets, CA, the pod's own facts, and the memory that both containers share.

    Secrets and CA are optional: what is missing must not hold the pod in ContainerCreating; the agent tells instead.
    """
    name = pool.metadata.name
    found: list[dict[str, Any]] = [
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": RUN_BYTES}},
        {"name": "config", "configMap": {"name": naming.config_map(name), "optional": True}},
        {"name": "grants", "configMap": {"name": naming.grants_config_map(name), "optional": True}},
        {
            "name": "pod",
            "downwardAPI": {
                "items": [
                    {"path": path, "fieldRef": {"fieldPath": f"metadata.{path}"}}
                    for path in ("name", "namespace", "uid", "annotations")
                ]
            },
        },
    ]
    found += [
        {"name": _user_volume(each.name), "secret": {"secretName": each.secret_ref.name, "optional": True}}
        for each in sorted(pool.spec.users, key=lambda user: user.name)
    ]
    return [*found, *({"name": name, **source} for name, _, source in _optional(pool))]


def agent_mounts(pool: ConnectionPool) -> list[dict[str, Any]]:
    """Where the agent finds each volume."""
    mounts = [
        ("run", naming.RUN_DIR),
        ("config", naming.CONFIG_DIR),
        ("grants", naming.GRANTS_DIR),
        ("pod", naming.POD_DIR),
    ]
    mounts += [
        (_user_volume(each), f"{naming.USERS_DIR}/{each}") for each in sorted(user.name for user in pool.spec.users)
    ]
    mounts += [(name, path) for name, path, _ in _optional(pool)]
    return [{"name": name, "mountPath": path, **({} if name == "run" else {"readOnly": True})} for name, path in mounts]


def _optional(pool: ConnectionPool) -> list[tuple[str, str, dict[str, Any]]]:
    """What only some pools have: name, place and source of each volume."""
    found = []
    if pool.spec.auth_query:
        secret = {"secretName": pool.spec.auth_query.secret_ref.name, "optional": True}
        found.append(("auth-query", f"{naming.USERS_DIR}/{naming.AUTH_QUERY_MOUNT}", {"secret": secret}))
    if ca := _ca_source(pool.spec.backend.ca):
        found.append(("ca", naming.CA_DIR, ca))
    if pool.spec.clients.tls:
        items = [{"key": key, "path": key} for key in naming.TLS_KEYS]
        secret = {"secretName": pool.spec.clients.tls.secret_name, "optional": True, "items": items}
        found.append(("tls", naming.TLS_DIR, {"secret": secret}))
    return found


def _user_volume(handle: str) -> str:
    """A volume's name is at most 63 characters, and a handle may be as long: a hash keeps them apart."""
    return f"user-{hashlib.sha256(handle.encode()).hexdigest()[:12]}"


def _ca_source(ca: CertificateAuthority | None) -> dict[str, Any] | None:
    """Only the named key is mounted: a CA's Secret may hold its private key as well."""
    if ca is None or ca.system:
        return None
    if ca.secret_key_ref:
        items = [{"key": ca.secret_key_ref.key, "path": naming.CA_KEY}]
        return {"secret": {"secretName": ca.secret_key_ref.name, "optional": True, "items": items}}
    assert ca.config_map_key_ref is not None  # exactly one source: the model's rule
    items = [{"key": ca.config_map_key_ref.key, "path": naming.CA_KEY}]
    return {"configMap": {"name": ca.config_map_key_ref.name, "optional": True, "items": items}}
