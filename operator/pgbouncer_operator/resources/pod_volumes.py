"""The volumes of a pool's pods, and where the agent mounts them."""

import hashlib
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.backend import CertificateAuthority
from pgbouncer_operator.api.connection_pool import ConnectionPool

RUN_BYTES = "32Mi"  # a configuration of 128 databases and 128 users takes less than 1 MiB; a candidate is a second one


def volumes(pool: ConnectionPool) -> list[dict[str, Any]]:
    """The run directory, configuration, grants, metadata of the pod, the users' Secrets, and what only some pools have.

    Every source is optional: a pod whose Secret is missing starts, and its agent reports the missing Secret.
    """
    name = pool.metadata.name
    sources: list[dict[str, Any]] = [
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
    sources += [
        {"name": _user_volume(each.name), "secret": {"secretName": each.secret_ref.name, "optional": True}}
        for each in sorted(pool.spec.users, key=lambda user: user.name)
    ]
    return [*sources, *({"name": name, **source} for name, _, source in _optional(pool))]


def agent_mounts(pool: ConnectionPool) -> list[dict[str, Any]]:
    """The agent's volumeMounts. Only the run directory is writable."""
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
    """Name, mount path and source of the volumes that only some pools have."""
    optional = []
    if pool.spec.auth_query:
        secret = {"secretName": pool.spec.auth_query.secret_ref.name, "optional": True}
        optional.append(("auth-query", f"{naming.USERS_DIR}/{naming.AUTH_QUERY_MOUNT}", {"secret": secret}))
    if ca := _ca_source(pool.spec.backend.ca):
        optional.append(("ca", naming.CA_DIR, ca))
    if pool.spec.clients.tls:
        items = [{"key": key, "path": key} for key in naming.TLS_KEYS]
        secret = {"secretName": pool.spec.clients.tls.secret_name, "optional": True, "items": items}
        optional.append(("tls", naming.TLS_DIR, {"secret": secret}))
    return optional


def _user_volume(handle: str) -> str:
    """Name of a user's volume. It has a hash of the handle, which may be as long as a volume's name: 63 characters."""
    return f"user-{hashlib.sha256(handle.encode()).hexdigest()[:12]}"


def _ca_source(ca: CertificateAuthority | None) -> dict[str, Any] | None:
    """Source of the CA's volume. It has only the named key, because the Secret of a CA may hold its private key too."""
    if ca is None or ca.system:
        return None
    if ca.secret_key_ref:
        items = [{"key": ca.secret_key_ref.key, "path": naming.CA_KEY}]
        return {"secret": {"secretName": ca.secret_key_ref.name, "optional": True, "items": items}}
    assert ca.config_map_key_ref is not None  # a rule of the model: exactly one source
    items = [{"key": ca.config_map_key_ref.key, "path": naming.CA_KEY}]
    return {"configMap": {"name": ca.config_map_key_ref.name, "optional": True, "items": items}}
