"""The operator's own settings, read once from the environment variables that the chart sets."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pgbouncer_operator import naming

SECRET = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
SERVER_HOST = re.compile(r"[^\s=,/]+:\d{1,5}=[a-z0-9-]+/[a-z0-9.-]+")


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names the environment variable and the remedy."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The choices of an installation. Times are in seconds."""

    pool_image: str
    """Image of the pools' pods."""
    namespace: str = "default"
    """Namespace of the operator, where its lease is."""
    identity: str = "pgbouncer-operator"
    """Name of this process in the lease; unique among the replicas."""
    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; empty for all."""
    server_hosts: tuple[tuple[str, str], ...] = ()
    """`host:port`, and the PostgresServer (`namespace/name`) that gives its connections, where several name it."""
    image_pull_policy: str = "IfNotPresent"
    """imagePullPolicy of the pools' pods."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets for pulling the pools' image, in each pool's namespace."""
    endpoint_delay: int = 5
    """Seconds that a leaving pod accepts connections after its last new client, until every node has removed it from
    the Service."""
    connection_secrets: bool = True
    """False if the operator has no right on Secrets; then it reads and writes none."""
    client_workloads: bool = True
    """False if the operator may not list workloads and autoscalers; then no pool can follow them."""
    leader_election: bool = True
    """False if this process leads without a lease."""
    workers: int = 16
    """Number of objects that are reconciled at the same time."""
    http_port: int = naming.OPERATOR_HTTP_PORT
    """Port of /livez, /readyz and /metrics."""
    log_level: str = "info"
    """Lowest level that is logged."""
    log_format: str = "json"
    """`json` or `text`."""
    resync: float = 600.0
    """Seconds between two lists of every kind, after which each object is reconciled."""

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> "Settings":
        """Read the variables `PGBOUNCER_OPERATOR_*`. Raises SettingsError."""
        read = _Reader(environment)
        return Settings(
            pool_image=read.text("POOL_IMAGE"),
            namespace=read.text("NAMESPACE", "default"),
            identity=read.text("IDENTITY", "pgbouncer-operator"),
            namespaces=tuple(name.strip() for name in read.text("WATCH_NAMESPACES", "").split(",") if name.strip()),
            server_hosts=read.servers("SERVER_HOSTS"),
            image_pull_policy=read.choice("IMAGE_PULL_POLICY", ("IfNotPresent", "Always", "Never")),
            image_pull_secrets=read.secrets("IMAGE_PULL_SECRETS"),
            endpoint_delay=read.integer("ENDPOINT_DELAY_SECONDS", 5, 0, 300),
            connection_secrets=read.choice("CONNECTION_SECRETS", ("true", "false")) == "true",
            client_workloads=read.choice("CLIENT_WORKLOADS", ("true", "false")) == "true",
            leader_election=read.choice("LEADER_ELECTION", ("true", "false")) == "true",
            workers=read.integer("WORKERS", 16, 1, 256),
            http_port=read.integer("HTTP_PORT", naming.OPERATOR_HTTP_PORT, 1, 65535),
            log_level=read.choice("LOG_LEVEL", ("info", "debug", "warning", "error")),
            log_format=read.choice("LOG_FORMAT", ("json", "text")),
            resync=float(read.integer("RESYNC_SECONDS", 600, 10, 86400)),
        )


@dataclass(frozen=True, slots=True)
class _Reader:
    environment: Mapping[str, str]

    def text(self, name: str, default: str | None = None) -> str:
        value = self.environment.get(f"PGBOUNCER_OPERATOR_{name}", default)
        if not value and default is None:
            raise SettingsError(f"PGBOUNCER_OPERATOR_{name} is not set. The Helm chart sets it; see its values.")
        return value or ""

    def servers(self, name: str) -> tuple[tuple[str, str], ...]:
        """Pairs of `host:port=namespace/name`, separated by commas."""
        value = self.text(name, "")
        pairs = [each.strip() for each in value.split(",") if each.strip()]
        for each in pairs:
            if not SERVER_HOST.fullmatch(each):
                raise SettingsError(
                    f"PGBOUNCER_OPERATOR_{name} is {value!r}: give pairs of host:port=namespace/name, with commas."
                )
        return tuple((host, server) for host, _, server in (each.partition("=") for each in pairs))

    def secrets(self, name: str) -> tuple[str, ...]:
        """Names of Secrets, separated by commas."""
        value = self.text(name, "")
        names = tuple(each.strip() for each in value.split(",") if each.strip())
        if not all(SECRET.fullmatch(each) for each in names):
            raise SettingsError(f"PGBOUNCER_OPERATOR_{name} is {value!r}: give names of Secrets, with commas.")
        return names

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        value = self.text(name, str(default))
        if not value.isdecimal() or not minimum <= int(value) <= maximum:
            raise SettingsError(
                f"PGBOUNCER_OPERATOR_{name} is {value!r}: give a whole number from {minimum} to {maximum}."
            )
        return int(value)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of the choices; the first is the default."""
        value = self.text(name, choices[0])
        if value not in choices:
            raise SettingsError(f"PGBOUNCER_OPERATOR_{name} is {value!r}: give one of {', '.join(choices)}.")
        return value
