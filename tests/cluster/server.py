"""PostgreSQL's own word, by its superuser in its own pod, and what the load's clients were told held against it."""

from dataclasses import dataclass

from tests.cluster.pools import Namespace
from tests.localcluster.traffic import Running

SERVER = "deployment/postgres"


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of some load. told: transactions of which a client knows that they are committed. lost: of these.

    more: rows of transactions that a client saw failing, which is possible at COMMIT only.
    """

    told: int
    counted: int
    lost: int

    @property
    def more(self) -> int:
        """Rows beyond those that were told."""
        return self.counted - (self.told - self.lost)


def sql(here: Namespace, query: str, server: str = SERVER, database: str = "shop") -> str:
    """What psql prints, unaligned and without heads, as the superuser in the server's own pod."""
    psql = ("psql", "-h", "/tmp", "-U", "postgres", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database)
    return here.kubectl("exec", "-i", server, "-c", "postgres", "--", *psql, text=query).strip()


def rows(here: Namespace, ended: Running, *servers: str) -> Rows:
    """Hold clients that have ended against the rows of all the servers, number by number."""
    told: set[tuple[str, int, int]] = set()
    for each in ended.latest.values():
        failed = {(client, number) for client, number in each["failures"]}
        assert len(failed) == each["failed"], "more failures than the account can name"
        tried = {(client, number) for client, last in each["attempts"] for number in range(1, last + 1)}
        told |= {(each["run"], client, number) for client, number in tried - failed}
    runs = ", ".join(f"'{each['run']}'" for each in ended.latest.values())
    query = f"SELECT run, client, number FROM load WHERE run IN ({runs})"
    split = [line.split("|") for each in servers for line in sql(here, query, each).splitlines()]
    found = {(run, int(client), int(number)) for run, client, number in split}
    return Rows(len(told), len(found), len(told - found))
