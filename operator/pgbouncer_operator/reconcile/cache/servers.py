"""A PostgresServer as the operator uses it: the spec with the limits in force, and who may refer to it. Pure."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgbouncer_operator.api.connection_pool import InvalidSpec
from pgbouncer_operator.api.postgres_server import Consent, PostgresServer, parse
from pgbouncer_operator.reconcile.cache.views import ServerView


def in_force(server: PostgresServer, view: ServerView) -> PostgresServer:
    """The server with a maximum where its owner wrote none: the server's last word, else what was shared out last.

    The login that reads is a client that uses no pool, so at least one connection is kept for such.
    """
    given = server.spec.connections
    if given.max is not None:
        return server
    if view.limits is not None:
        found = {"max": view.limits.usable, "unpooled": max(1, given.unpooled)}
    elif view.budget is not None:
        found = {"max": view.budget, "unpooled": 0, "headroom_percent": 0}
    else:
        return server
    spec = server.spec.model_copy(update={"connections": given.model_copy(update=found)})
    return server.model_copy(update={"spec": spec})


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a server. server: parsed, or what is wrong with it. allowed: None while not known.

    authority: see Membership.
    """

    view: ServerView
    server: PostgresServer | InvalidSpec
    allowed: bool | None
    authority: str | None


def allowed(server: PostgresServer, namespace: str, labels: dict[str, str] | None) -> bool | None:
    """Whether pools of that namespace may refer to the server. labels: of the namespace; None: not known."""
    if namespace == server.metadata.namespace:
        return True
    given = server.spec.allowed_namespaces
    if given.from_ is not Consent.SELECTOR or given.selector is None:
        return given.from_ is Consent.ALL
    if labels is None:
        return None
    return all(labels.get(key) == value for key, value in given.selector.match_labels.items())


def read(view: ServerView) -> PostgresServer | InvalidSpec:
    """The server with the limits that are in force, or what is wrong with it."""
    metadata = {"name": view.name, "namespace": view.namespace, "uid": view.uid, "generation": view.generation}
    try:
        return in_force(parse({"metadata": metadata, "spec": json.loads(view.spec)}), view)
    except InvalidSpec as error:
        return error


def _inputs(view: ServerView) -> tuple[object, ...]:
    return view.spec, view.generation, view.limits, view.budget


def certificate_text(body: Mapping[str, Any], kind: str, key: str) -> str:
    """The text of a Secret's or ConfigMap's key; empty where there is none, or where it is no text."""
    plain = str((body.get("data") or {}).get(key, ""))
    if plain and kind == "ConfigMap":
        return plain
    try:
        return base64.b64decode(plain or (body.get("binaryData") or {}).get(key, "")).decode()
    except (UnicodeDecodeError, binascii.Error):
        return ""
