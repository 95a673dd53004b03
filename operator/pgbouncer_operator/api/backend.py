"""`spec.backend`: the PostgreSQL server behind a pool, and how PgBouncer verifies it."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from pgbouncer_operator.api.model import Model, Rule
from pgbouncer_operator.api.strings import Host, Integer, KeyName, Namespace, ObjectName, SubdomainName


class TlsMode(StrEnum):
    """PgBouncer's server_tls_sslmode, without the modes that fall back to plain text."""

    DISABLE = "disable"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class KeyReference(Model):
    """One key of a Secret or ConfigMap in the pool's namespace."""

    name: ObjectName
    """Name of the object, in the pool's namespace. A new name rolls the pods."""
    key: KeyName
    """Key in the object that holds the PEM certificates. Only this key is mounted. A new key rolls the pods."""


def _sources(ca: "CertificateAuthority") -> int:
    return sum(source is not None for source in (ca.secret_key_ref, ca.config_map_key_ref, ca.system))


# Python takes 1 for True, the API server does not.
Yes = Annotated[Literal[True], BeforeValidator(lambda value: value if isinstance(value, bool) else "")]


class CertificateAuthority(Model):
    """The source of the CA that the server's certificate is verified with. Exactly one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.system)].filter(g, g).size() == 1",
            broken=lambda ca: None if _sources(ca) == 1 else "",
            message="ca needs exactly one of secretKeyRef, configMapKeyRef and system: keep one and remove the others",
        ),
    )

    secret_key_ref: KeyReference | None = None
    """Key of a Secret with the CA's certificates in PEM. A new reference rolls the pods; new content is reloaded."""
    config_map_key_ref: KeyReference | None = None
    """Key of a ConfigMap with the CA's certificates in PEM. A new reference rolls the pods; new content is reloaded."""
    system: Yes | None = None
    """Trust the public CAs of the pool's image, for servers with a public certificate. Only true is allowed; leave it
    out otherwise. A change is reloaded, then every server connection is renewed."""


class BackendTls(Model):
    """TLS between PgBouncer and PostgreSQL."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel='!(has(self.mode) && self.mode == "disable" && has(self.ca))',
            broken=lambda tls: "" if tls.mode == TlsMode.DISABLE and tls.ca else None,
            message="ca has no effect when mode is disable: remove ca, or choose mode verify-full",
            field="ca",
        ),
        Rule(
            cel='!(has(self.mode) && self.mode in ["verify-ca", "verify-full"]) || has(self.ca)',
            broken=lambda tls: "" if tls.mode in {TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL} and not tls.ca else None,
            message="mode verify-ca and verify-full need a CA to verify with: set ca, for public CAs {system: true}",
            field="ca",
        ),
    )

    mode: TlsMode | None = None
    """How far the server is verified: disable, require (encrypted, but any server is accepted), verify-ca,
    verify-full. Default: verify-full with a ca, require without. PgBouncer's server_tls_sslmode. A
    change is reloaded, then every server connection is renewed."""
    ca: CertificateAuthority | None = None
    """The CA that signed the server's certificate. Default: none. PgBouncer's server_tls_ca_file. A new reference
    rolls the pods; new content is reloaded."""


class ServerReference(Model):
    """A PostgresServer."""

    name: SubdomainName
    """Name of the PostgresServer. Required. A change is reloaded."""
    namespace: Namespace | None = None
    """Its namespace. Its allowedNamespaces must allow the pool's. Default: the pool's. A change is reloaded."""


class BackendSecret(Model):
    """A Secret that names a server: of a provider, or of a PostgreSQL operator."""

    name: ObjectName
    """Name of the Secret, in the pool's namespace. Required. A new name rolls the pods if they mount the Secret."""
    url_key: KeyName | None = None
    """Key of a URL (postgres://…). Default: the keys host, port, dbname and so on, else uri, url, DATABASE_URL,
    POSTGRES_URL. A change is reloaded; without spec.users it rolls the pods."""


def _servers(backend: "Backend") -> bool:
    """Whether exactly one source names the server."""
    named = backend.host is not None or backend.secret_ref is not None
    return named != (backend.server_ref is not None)


class Backend(Model):
    """A PostgreSQL server."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(has(self.host) || has(self.secretRef)) != has(self.serverRef)",
            broken=lambda backend: None if _servers(backend) else "",
            message="backend needs either host or secretRef, or serverRef alone: keep one and remove the other",
        ),
        Rule(
            cel="!has(self.secretRef) || has(self.host) || self.port == 5432",
            broken=lambda backend: "" if backend.secret_ref and not backend.host and backend.port != 5432 else None,
            message="port belongs to host, and the Secret has its own: remove port, or add host",
            field="port",
        ),
        Rule(
            cel="!(has(self.serverRef) && has(self.tls))",
            broken=lambda backend: "" if backend.server_ref and backend.tls else None,
            message="tls belongs to the PostgresServer that serverRef names: remove it here",
            field="tls",
        ),
    )

    host: Host | None = None
    """DNS name or IP address of the PostgreSQL server; best the Service of the primary. PgBouncer's host. Default: that
    of serverRef or secretRef. A change is reloaded, then every server connection is renewed between transactions."""
    server_ref: ServerReference | None = None
    """A PostgresServer. The pool uses its host, port, TLS and budget. Default: none. A change is reloaded."""
    secret_ref: BackendSecret | None = None
    """A Secret with the server's host, port, sslmode and ca.crt. It also names the database and the user where the spec
    lists none. Default: none. A change is reloaded; a new ca.crt or user rolls."""
    port: Annotated[Integer, Field(ge=1, le=65535)] = 5432
    """TCP port of the PostgreSQL server. Default: 5432. PgBouncer's port. A change is reloaded, then every
    server connection is renewed."""
    tls: BackendTls | None = None
    """TLS towards the server. Default: encrypted without verification (require). A server without TLS needs
    {mode: disable}. A change of mode takes effect by reload; a new CA reference rolls the pods."""

    @property
    def address(self) -> str:
        """The host. Raises ValueError if serverRef or secretRef is not resolved yet."""
        if self.host is None:
            raise ValueError("the server of the backend is not resolved")
        return self.host

    @property
    def tls_mode(self) -> TlsMode:
        """The mode in force: the given one, else verify-full with a CA and require without."""
        if self.tls is None:
            return TlsMode.REQUIRE
        return self.tls.mode or (TlsMode.VERIFY_FULL if self.tls.ca else TlsMode.REQUIRE)

    @property
    def ca(self) -> CertificateAuthority | None:
        """The CA of `tls`, or None."""
        return self.tls.ca if self.tls else None
