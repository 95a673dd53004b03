"""CPU seconds of allocation rounds for many pools on some servers, without a cluster.

PYTHONPATH=operator:. python -m tests.bench.allocation [pools] [servers]
"""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.pgbouncer.grants import Grant, Grants
from pgbouncer_operator.reconcile import projections, server_round
from pgbouncer_operator.reconcile.observe import parsed
from pgbouncer_operator.reconcile.server_round import Member
from pgbouncer_operator.reconcile.servers import read
from pgbouncer_operator.resources.grants import grants_config_map

BUDGET = 4_000
TODAY = "2026-01-01T00:00:00Z"


def pool(number: int) -> dict[str, Any]:
    spec = {
        "backend": {"serverRef": {"name": "rds", "namespace": "platform"}},
        "databases": [{"name": "shop"}],
        "users": [{"name": "shop", "secretRef": {"name": "shop-db"}}],
        "serverConnections": {"max": 20 + number % 50},
    }
    metadata = {
        "name": f"pool-{number}",
        "namespace": f"team-{number % 20}",
        "uid": str(number),
        "resourceVersion": "1",
    }
    return {"metadata": {**metadata, "creationTimestamp": f"2026-01-01T00:{number % 60:02}:00Z"}, "spec": spec}


def server(status: dict[str, Any]) -> projections.ServerView:
    spec = {"host": "main.example.com", "connections": {"max": BUDGET}, "allowedNamespaces": {"from": "All"}}
    metadata = {"name": "rds", "namespace": "platform", "uid": "s", "resourceVersion": "1", "generation": 1}
    return projections.server({"metadata": metadata, "spec": spec, "status": status})


def members(view: projections.ServerView, pools: int) -> Iterator[Member]:
    """Every pool parsed anew, with a ledger of two pods: what a round costs that remembers nothing."""
    known = read(view)
    assert isinstance(known, PostgresServer)
    for number in range(pools):
        made = projections.pool(pool(number))
        grants = Grants(3, 5, {"a": Grant(10, 3, 10), "b": Grant(10, 3, 10)}, {}, 0, "platform/rds", 1)
        body = grants_config_map(made.name, grants)
        metadata = {**body["metadata"], "namespace": made.namespace, "uid": "l", "resourceVersion": "1"}
        ledger = projections.child({**body, "metadata": metadata})
        asked = server_round.asks(parsed(made), made.status, known)
        yield Member(made, asked, server_round.holds(ledger, frozenset({"a", "b"})), welcome=True)


def main(argv: list[str]) -> None:
    """Print the seconds of the first round, and of one after a change, for all servers together."""
    pools, servers = (int(each) for each in (*argv, "1000", "10")[:2]) if len(argv) >= 2 else (1000, 10)
    begun = time.process_time()
    for _ in range(servers):
        view = server({})
        known = read(view)
        assert isinstance(known, PostgresServer)
        found = list(members(view, pools // servers))
        shared = server_round.shared_out(view, known, found, frozenset())
        server_round.patch(view, server_round.told(view, known, shared, server_round.Heard(), TODAY))
    first = time.process_time() - begun
    status = server_round.told(view, known, shared, server_round.Heard(), TODAY).wire()
    begun = time.process_time()
    for _ in range(servers):
        view = server(json.loads(json.dumps(status)))
        known = read(view)
        assert isinstance(known, PostgresServer)
        shared = server_round.shared_out(view, known, found, frozenset())
        server_round.patch(view, server_round.told(view, known, shared, server_round.Heard(), TODAY))
    again = time.process_time() - begun
    print(
        f"{pools} pools on {servers} servers ({naming.SERVER_KIND}): first round {first:.2f} s, later {again:.2f} s CPU"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
