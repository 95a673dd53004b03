"""A PostgresServer as the operator uses it: the spec with the limits in force, and who may refer to it. Pure."""

import base64
import binascii
import json
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pgbouncer_operator.api.connection_pool import InvalidSpec
from pgbouncer_operator.api.postgres_server import Consent, PostgresServer, parse
from pgbouncer_operator.reconcile.cache.keys import name_of
from pgbouncer_operator.reconcile.cache.views import ServerView

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----", re.ASCII)


def in_force(server: PostgresServer, view: ServerView) -> PostgresServer:
    """The server with a maximum, if its owner wrote none: what PostgreSQL said last, or else the last budget.

    The login that reads the limits uses no pool, so at least one connection stays unpooled.
    """
    connections = server.spec.connections
    if connections.max is not None:
        return server
    limits: dict[str, int]
    if view.limits is not None:
        limits = {"max": view.limits.usable, "unpooled": max(1, connections.unpooled)}
    elif view.budget is not None:
        limits = {"max": view.budget, "unpooled": 0, "headroom_percent": 0}
    else:
        return server
    spec = server.spec.model_copy(update={"connections": connections.model_copy(update=limits)})
    return server.model_copy(update={"spec": spec})


class Standing(StrEnum):
    """A PostgresServer among all that name its host and port. Only one may give out that host's connections."""

    IN_FORCE = "in force"
    CONTESTED = "contested"  # with a server of another namespace: nothing decides, so that both give
    SUPERSEDED = "superseded"  # another one gives
    YOUNGER = "younger"  # an older one of the same namespace gives

    @property
    def gives(self) -> bool:
        """Whether such a server gives out connections, rather than another one with its host."""
        return self in (Standing.IN_FORCE, Standing.CONTESTED)


def standing(view: ServerView, rivals: Iterable[ServerView], chosen: str) -> Standing:
    """Which of the servers with one host and port gives its connections.

    In one namespace it is the oldest. Of several namespaces it is the one whose login has read the limits there: naming
    a host proves nothing. rivals: the others. chosen: the administrator's choice, as `namespace/name`; empty for none.
    """
    oldest: dict[str, ServerView] = {}
    everybody = sorted((view, *rivals), key=lambda each: (each.created, each.name))
    for each in everybody:
        oldest.setdefault(each.namespace, each)
    winners = [each for each in everybody if name_of(each) == chosen]
    if not winners and oldest[view.namespace].uid != view.uid:
        return Standing.YOUNGER
    if not winners and len(oldest) > 1:
        winners = [each for each in oldest.values() if each.limits is not None]
        if len(winners) != 1:
            return Standing.CONTESTED
    return Standing.IN_FORCE if not winners or winners[0].uid == view.uid else Standing.SUPERSEDED


@dataclass(frozen=True, slots=True)
class KnownServer:
    """A server that exists."""

    view: ServerView
    """The server's view."""
    server: PostgresServer | InvalidSpec
    """The parsed server, or what is wrong with its spec."""
    allowed: bool | None
    """Whether the pool's namespace may refer to it; None while unknown."""
    authority: str | None
    """The server's CA in PEM; None without one or while it cannot be read."""
    standing: Standing = Standing.IN_FORCE
    """Its place among all servers with its host and port."""

    @property
    def gives(self) -> bool:
        """Whether it gives out connections, rather than another server with its host."""
        return self.standing.gives


def allowed(server: PostgresServer, namespace: str, labels: dict[str, str] | None) -> bool | None:
    """Whether pools of that namespace may refer to the server; None while unknown.

    labels: those of the namespace, None while unknown.
    """
    if namespace == server.metadata.namespace:
        return True
    consent = server.spec.allowed_namespaces
    if consent.from_ is not Consent.SELECTOR or consent.selector is None:
        return consent.from_ is Consent.ALL
    if labels is None:
        return None
    return all(labels.get(key) == value for key, value in consent.selector.match_labels.items())


def read(view: ServerView) -> PostgresServer | InvalidSpec:
    """The server with the limits in force, or what is wrong with its spec."""
    metadata = {"name": view.name, "namespace": view.namespace, "uid": view.uid, "generation": view.generation}
    try:
        return in_force(parse({"metadata": metadata, "spec": json.loads(view.spec)}), view)
    except InvalidSpec as error:
        return error


def inputs(view: ServerView) -> tuple[object, ...]:
    """What of a view `read` depends on."""
    return view.spec, view.generation, view.limits, view.budget


def certificate_text(body: Mapping[str, Any], kind: str, key: str) -> str:
    """The text at a key of a Secret or ConfigMap; empty where there is none or it is not UTF-8."""
    plain = str((body.get("data") or {}).get(key, ""))
    if plain and kind == "ConfigMap":
        return plain
    try:
        return base64.b64decode(plain or (body.get("binaryData") or {}).get(key, "")).decode()
    except (UnicodeDecodeError, binascii.Error):
        return ""


def certificates(text: str) -> str:
    """The X.509 certificates of a text, in PEM. All else is left out; empty where there is no certificate.

    The text is that of any key that the server's owner names, and the result is copied to other namespaces.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return "".join(f"{block[0]}\n" for block in _BLOCK.finditer(text) if _is_certificate(context, block[1]))


def _is_certificate(context: ssl.SSLContext, encoded: str) -> bool:
    try:
        der = base64.b64decode("".join(encoded.split()), validate=True)
        context.load_verify_locations(cadata=der)
    except (ValueError, ssl.SSLError):  # also of an empty block
        return False
    # OpenSSL takes no notice of what follows the certificate. A certificate is longer than 127 bytes, so its length
    # has the long form: X.690, 8.1.3.5.
    octets = der[1] & 0x7F
    return len(der) == 2 + octets + int.from_bytes(der[2 : 2 + octets])
