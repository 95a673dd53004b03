"""The agent's directories, ports and intervals: one frozen object, changed by environment variables."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from pgbouncer_operator import naming

PREFIX = "PGBOUNCER_AGENT_"


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Directories, ports and intervals in seconds."""

    config_dir: Path = Path(naming.CONFIG_DIR)
    """Where the pool's ConfigMap is mounted."""
    grants_dir: Path = Path(naming.GRANTS_DIR)
    """Where the ledger's ConfigMap is mounted."""
    users_dir: Path = Path(naming.USERS_DIR)
    """Where the users' Secrets are mounted, a directory for each."""
    ca_dir: Path = Path(naming.CA_DIR)
    """Where the CA of PostgreSQL is mounted."""
    tls_dir: Path = Path(naming.TLS_DIR)
    """Where the certificate for clients is mounted."""
    pod_dir: Path = Path(naming.POD_DIR)
    """Where the pod's own UID and annotations are mounted."""
    run_dir: Path = Path(naming.RUN_DIR)
    """Where the agent writes PgBouncer's configuration, and where the sockets are."""
    system_ca: Path = Path(naming.SYSTEM_CA_FILE)
    """The file with the public CAs of the image."""
    pgbouncer: tuple[str, ...] = (naming.PGBOUNCER_BINARY,)
    """The command that starts PgBouncer; the path of a configuration is added."""
    port: int = naming.PGBOUNCER_PORT
    """Where PgBouncer listens, on every address."""
    http_port: int = naming.AGENT_PORT
    """Where the agent listens, on every address."""
    poll: float = 0.05
    """Between two observations while a change is under way."""
    beat: float = 1.0
    """Between two observations when nothing changes."""
    static_after: float = 30.0
    """How long a pod without a grant waits before it uses the static share; longer than a takeover by another operator.

    Pods of before may still hold grants then, and the static share would come on top.
    """
    tick: float = 0.35
    """How long PgBouncer gets to come below a lowered limit by itself; its janitor runs every 0.333 s."""

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> "AgentSettings":
        """The defaults, changed by PGBOUNCER_AGENT_<FIELD>. ValueError names the variable that cannot be read."""
        changed: dict[str, object] = {}
        for field in fields(AgentSettings):
            name = PREFIX + field.name.upper()
            if (text := environment.get(name)) is None:
                continue
            try:
                changed[field.name] = _read(field.default, text)
            except ValueError as error:
                raise ValueError(f"{name}={text!r}: {error}") from None
        return AgentSettings(**changed)  # type: ignore[arg-type]

    @property
    def console(self) -> Path:
        """PgBouncer's Unix socket, whose console trusts the agent's uid."""
        return self.run_dir / f".s.PGSQL.{self.port}"


def _read(default: object, text: str) -> object:
    match default:
        case tuple():
            return tuple(shlex.split(text))
        case Path():
            return Path(text)
        case int():
            return int(text)
        case float():
            return float(text)
        case _:
            return text
