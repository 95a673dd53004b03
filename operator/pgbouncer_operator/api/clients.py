"""`spec.clients`: limits on the side of the clients, and the certificate that is shown to them."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pgbouncer_operator.api.model import Model
from pgbouncer_operator.api.strings import Integer, ObjectName


class ClientTlsMode(StrEnum):
    """PgBouncer's client_tls_sslmode, as far as it says who may stay without TLS. Clients show no certificate."""

    REQUIRE = "require"
    PREFER = "prefer"


class ClientTls(Model):
    """TLS between clients and PgBouncer."""

    secret_name: ObjectName
    """Secret of type kubernetes.io/tls in the pool's namespace, with tls.crt and tls.key, and best with ca.crt, as
    cert-manager writes it. Required. A new name rolls the pods; new content is reloaded."""
    mode: ClientTlsMode = ClientTlsMode.REQUIRE
    """require, or prefer to let clients without TLS in too. Default: require. PgBouncer's client_tls_sslmode. A change
    takes effect by reload, for new connections."""


class Clients(Model):
    """Limits on the side of the clients."""

    max_per_pod: Annotated[Integer, Field(ge=1, le=100_000)] = 2000
    """Most client connections that one pod accepts. Default: 2000. Not split over the pods, because a Service does not
    balance. PgBouncer's max_client_conn. A change takes effect by reload."""
    tls: ClientTls | None = None
    """The certificate that clients see. Default: none, clients connect in plain text. Given or taken away, the pods
    roll."""
