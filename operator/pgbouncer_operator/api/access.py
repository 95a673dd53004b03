"""`spec.databases`, `spec.users`, `spec.authQuery` and `spec.connectionSecrets`."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from pgbouncer_operator.api.model import Model, Rule, matches
from pgbouncer_operator.api.strings import (
    BackendDatabaseName,
    DatabaseName,
    FunctionName,
    Handle,
    Integer,
    KeyName,
    LabelKey,
    LabelValue,
    LongText,
    ObjectName,
    Reference,
)


class PoolMode(StrEnum):
    """PgBouncer's pool_mode: when a server connection goes back to the pool."""

    SESSION = "session"
    TRANSACTION = "transaction"
    STATEMENT = "statement"


class Endpoint(StrEnum):
    """The server that a connection Secret points at."""

    POOL = "Pool"
    BACKEND = "Backend"


LOOKUP_FUNCTION = "pgbouncer.lookup"
# The names that a template may have in braces; `resources/connection_secret.py` has their values.
_PLACE = "((url-)?(host|database|username|password)|port|sslmode|uri|jdbc-uri)"
Template = Annotated[
    str,
    StringConstraints(max_length=512),
    matches(
        r"([^{}\x00-\x1f\x7f-\x9f]|[{][{]|[}][}]|[{]" + _PLACE + "[}])*",
        "may have only these names in braces: host, port, database, username, password, sslmode, uri, jdbc-uri, "
        "url-host, url-database, url-username, url-password; write a brace twice",
    ),
]
ConnectionCount = Annotated[Integer, Field(ge=1, le=10000)]


class ConnectionCap(Model):
    """A limit that reserves nothing."""

    max: ConnectionCount
    """Most server connections, over all pods together. They are not reserved. A change is reloaded."""


class Database(Model):
    """A database that clients may ask for."""

    name: DatabaseName
    """Name that clients ask for. At most 63 bytes, without quotes; pgbouncer, pgbouncer-lookup and * are reserved. A
    new entry takes effect by reload. Removal refuses new clients; present clients have spec.drain.timeoutSeconds to
    leave, or 5 seconds in a pod that has fewer server connections than databases, this one included."""
    backend_name: BackendDatabaseName | None = None
    """Name of the database on the PostgreSQL server. Default: the same as name. PgBouncer's dbname. A
    change is reloaded, then its server connections are renewed."""
    pool_mode: PoolMode | None = None
    """When a server connection goes back to the pool: session, transaction or statement. Default: spec.poolMode.
    PgBouncer's pool_mode of this database. A change is reloaded, then its server connections are renewed."""
    server_connections: ConnectionCap | None = None
    """Limit for this database within spec.serverConnections.max. Default: no limit of its own. PgBouncer's
    max_db_connections. A change is reloaded."""

    @property
    def dbname(self) -> str:
        """The database's name on the server."""
        return self.backend_name or self.name


class SecretReference(Model):
    """A Secret in the pool's namespace."""

    name: ObjectName
    """Name of the Secret, in the pool's namespace. A new name rolls the pods; new content is reloaded."""


class User(Model):
    """A login, which is in a Secret, so that it can be rotated without a change of the pool."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.urlKey) || !has(self.usernameKey) && !has(self.passwordKey)",
            broken=lambda user: (
                "" if user.url_key and user.model_fields_set & {"username_key", "password_key"} else None
            ),
            message="urlKey names login and password: remove usernameKey and passwordKey",
        ),
    )

    name: Handle
    """Name of this entry, for connectionSecrets and status. The login itself is in the Secret, because rotation may
    change it. A new entry rolls the pods."""
    secret_ref: SecretReference
    """The Secret with login and password. The same login is used towards the PostgreSQL server. A new reference rolls
    the pods; new content is reloaded."""
    username_key: KeyName | None = None
    """Key of the Secret that holds the login. Default: username, else user. A change is reloaded."""
    password_key: KeyName = "password"  # noqa: S105  the name of a key
    """Key of the Secret that holds the password. Default: password. A change is reloaded."""
    url_key: KeyName | None = None
    """Key of the Secret that holds a URL (postgres://…) with login and password, instead of a key for each. Default:
    none. A change rolls the pods."""
    server_connections: ConnectionCap | None = None
    """Limit for this login within spec.serverConnections.max. Default: no limit of its own. PgBouncer's
    max_user_connections. A change is reloaded."""


class AuthQuery(Model):
    """Logins that PgBouncer looks up in PostgreSQL, besides those of spec.users."""

    secret_ref: SecretReference
    """The Secret with login and password of the role that calls function. The role needs EXECUTE on it and nothing
    else. A new reference rolls the pods; new content is reloaded."""
    username_key: KeyName | None = None
    """Key of the Secret that holds the login. Default: username, else user. A change is reloaded."""
    password_key: KeyName = "password"  # noqa: S105  the name of a key
    """Key of the Secret that holds the password. Default: password. A change is reloaded."""
    database: Reference
    """Name of the entry of spec.databases where the function is. Required. PgBouncer's auth_dbname. A
    change is reloaded."""
    function: FunctionName = LOOKUP_FUNCTION
    """Function, with its schema, that returns the name and the verifier of a login. `pgbouncer-operator auth-query-sql`
    prints its SQL. Default: pgbouncer.lookup. PgBouncer's auth_query. A change is reloaded."""


class ConnectionSecret(Model):
    """A Secret that the operator writes for an application."""

    name: ObjectName
    """Name of the Secret to write, in the pool's namespace. The operator never changes a Secret that it did not
    create. A change is applied at once; a Secret no longer listed is deleted."""
    database: Reference
    """Name of an entry of spec.databases. A change is applied at once; applications see it when they restart."""
    user: Reference
    """Name of an entry of spec.users. A change is applied at once; applications see it when they restart."""
    endpoint: Endpoint = Endpoint.POOL
    """Where the Secret points: Pool (with DATABASE_URL) or Backend (with DIRECT_URL, past the pool, for migrations).
    Default: Pool. A change is applied at once."""
    keys: Annotated[dict[KeyName, Template], Field(max_length=16)] | None = None
    """Keys besides the standard ones, or instead of one: text with values in braces, as in "{uri}&connect_timeout=3".
    Default: none. A change is applied at once."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] | None = None
    """Labels of the Secret besides the operator's own. Default: none. A change is applied at once."""
    annotations: Annotated[dict[LabelKey, LongText], Field(max_length=32)] | None = None
    """Annotations of the Secret. Default: none. A change is applied at once."""
