"""The numbers of a pool: how many connections, how long anything may take, how patiently a pod leaves."""

from typing import Annotated

from pydantic import Field

from pgbouncer_operator.api.access import ConnectionCount
from pgbouncer_operator.api.model import Model
from pgbouncer_operator.api.strings import Integer

Seconds = Annotated[Integer, Field(ge=0, le=31_536_000)]  # up to a year
UpToADay = Annotated[Integer, Field(ge=0, le=86_400)]
AtLeastASecond = Annotated[Integer, Field(ge=1, le=86_400)]


class ServerConnections(Model):
    """The pool's share of what PostgreSQL can carry."""

    max: ConnectionCount
    """Most connections to the PostgreSQL server over all pods together, surge and terminating pods included. Required.
    Split over pods and databases as PgBouncer's max_db_connections. A change takes effect by reload: pods shrink and
    confirm before others grow, nothing restarts."""


class Timeouts(Model):
    """How long anything may take, in whole seconds."""

    query_wait_seconds: UpToADay = 30
    """Seconds a query may wait for a server connection before the client gets an error; 0 waits for ever. Default: 30.
    PgBouncer's query_wait_timeout. A change takes effect by reload."""
    server_idle_seconds: Seconds = 600
    """Seconds after which an unused server connection is closed; 0 never closes. Default: 600. PgBouncer's
    server_idle_timeout. A change takes effect by reload."""
    server_lifetime_seconds: Seconds = 3600
    """Seconds after which a server connection is renewed once it is free; 0 uses every connection once. Default: 3600.
    PgBouncer's server_lifetime. A change takes effect by reload."""
    client_idle_seconds: Seconds = 0
    """Seconds after which an idle client is disconnected; 0 never. Default: 0. PgBouncer's client_idle_timeout. A
    change takes effect by reload."""
    idle_transaction_seconds: Seconds = 0
    """Seconds a client may idle inside a transaction before it is disconnected; 0 is unlimited. Default: 0.
    PgBouncer's idle_transaction_timeout. A change takes effect by reload."""
    query_seconds: Seconds = 0
    """Seconds a query may run before it is cancelled and its client disconnected; 0 is unlimited. Default: 0. Better
    set statement_timeout in PostgreSQL. PgBouncer's query_timeout. A change takes effect by reload."""
    server_connect_seconds: AtLeastASecond = 15
    """Seconds that connecting and logging in to the PostgreSQL server may take. Default: 15. PgBouncer's
    server_connect_timeout. A change takes effect by reload."""


class Drain(Model):
    """How a pod leaves without cutting a transaction."""

    timeout_seconds: UpToADay = 120
    """Seconds a leaving pod waits for its clients to leave by themselves. Default: 120. A change rolls the pods."""
    transaction_seconds: UpToADay = 60
    """Seconds that transactions still running after timeoutSeconds get to finish; clients are then closed between two
    transactions. Default: 60. In session mode the deadline cuts. A change rolls the pods."""
