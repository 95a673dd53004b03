"""`kubectl pgbouncer clients`: who is connected to a pool and who waits, by database and login."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from pgbouncer_operator import naming
from pgbouncer_operator.plugin.findings import Finding
from pgbouncer_operator.plugin.kubectl import Kubectl, KubectlError, Scope

COLUMNS = ("DATABASE", "USER", "CLIENTS", "WAITING", "OLDEST WAIT", "SERVERS BUSY", "SERVERS IDLE")
_PREFIX = "pgbouncer_pool_"
_OLDEST = "oldest_wait_seconds"


@dataclass(frozen=True, slots=True)
class ClientsLine:
    """The clients of one database and login, over the pods that answered."""

    database: str
    """The database that clients ask for."""
    user: str
    """The login."""
    clients: int
    """Clients that are connected and do not wait."""
    waiting: int
    """Clients that wait for a server connection."""
    oldest_wait: float
    """How long the one that waits longest has waited, in seconds."""
    servers_busy: int
    """Server connections that a client uses."""
    servers_idle: int
    """Server connections that are free."""

    @property
    def cells(self) -> tuple[str, ...]:
        """The line's cells, in the order of COLUMNS."""
        wait = f"{self.oldest_wait:.1f}s" if self.waiting else "-"
        figures = (self.servers_busy, self.servers_idle)
        return (self.database, self.user, str(self.clients), str(self.waiting), wait, *map(str, figures))


@dataclass(frozen=True, slots=True)
class PoolClients:
    """The clients of a pool."""

    namespace: str
    """The pool's namespace."""
    name: str
    """The pool's name."""
    lines: tuple[ClientsLine, ...]
    """Those with most waiting clients first."""
    findings: tuple[Finding, ...]
    """Pods that did not answer: their clients are not counted."""


def clients(kubectl: Kubectl, scope: Scope, name: str) -> PoolClients:
    """Ask every pod of a pool, through the API server. Raises KubectlError if none answers."""
    (pool,) = kubectl.pools(scope, name)
    namespace = pool["metadata"]["namespace"]
    texts, findings, errors = [], [], []
    for pod in sorted(each["metadata"]["name"] for each in kubectl.pods(namespace, name)):
        try:
            texts.append(kubectl.raw(f"/api/v1/namespaces/{namespace}/pods/{pod}:{naming.AGENT_PORT}/proxy/metrics"))
        except KubectlError as error:
            errors.append(error)
            findings.append(error.finding(f"Pod {pod}"))
    if errors and not texts:
        raise errors[0]
    return PoolClients(namespace, name, lines(texts), tuple(findings))


def lines(texts: Iterable[str]) -> tuple[ClientsLine, ...]:
    """The lines of the metrics of several pods, in Prometheus' text format."""
    sums: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for text in texts:
        for sample in (each for family in text_string_to_metric_families(text) for each in family.samples):
            if sample.name.startswith(_PREFIX):
                figures = sums[sample.labels.get("database", ""), sample.labels.get("user", "")]
                figure = sample.name.removeprefix(_PREFIX)
                figures[figure] = (
                    max(figures[figure], sample.value) if figure == _OLDEST else figures[figure] + sample.value
                )
    found = (_line(database, user, figures) for (database, user), figures in sums.items())
    return tuple(sorted(found, key=lambda each: (-each.waiting, -each.clients, each.database, each.user)))


def _line(database: str, user: str, figures: dict[str, float]) -> ClientsLine:
    return ClientsLine(
        database=database,
        user=user,
        clients=int(figures["clients_active"]),
        waiting=int(figures["clients_waiting"]),
        oldest_wait=figures[_OLDEST],
        servers_busy=int(figures["servers_active"]),
        servers_idle=int(figures["servers_idle"] + figures["servers_used"]),
    )
