"""CPU seconds of allocation rounds for many pools on some servers, without a cluster: the pure functions alone.

    PYTHONPATH=operator:. python -m tests.bench.allocation [POOLS SERVERS]        1000 10 unless given

The first round remembers nothing: every pool is parsed. Before the later one, every tenth pool wants something else;
it parses those anew, and finds the others as they were.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.reconcile.cache import projections, views
from pgbouncer_operator.reconcile.cache.servers import read
from pgbouncer_operator.reconcile.server import allocate
from pgbouncer_operator.reconcile.server.allocate import MemberPool
from pgbouncer_operator.reconcile.server.status import ServerReadings, patch, server_status
from pgbouncer_operator.reconcile.specification import parsed
from pgbouncer_operator.resources.grants import grants_config_map

BUDGET = 4_000
TODAY = "2026-01-01T00:00:00Z"


def pool(number: int, want: int) -> dict[str, Any]:
    spec = {
        "backend": {"serverRef": {"name": "rds", "namespace": "platform"}},
        "databases": [{"name": "shop"}],
        "users": [{"name": "shop", "secretRef": {"name": "shop-db"}}],
        "serverConnections": {"max": want},
    }
    metadata = {
        "name": f"pool-{number}",
        "namespace": f"team-{number % 20}",
        "uid": str(number),
        "resourceVersion": "1",
    }
    return {"metadata": {**metadata, "creationTimestamp": f"2026-01-01T00:{number % 60:02}:00Z"}, "spec": spec}


def server(status: dict[str, Any]) -> views.ServerView:
    spec = {"host": "main.example.com", "connections": {"max": BUDGET}, "allowedNamespaces": {"from": "All"}}
    metadata = {"name": "rds", "namespace": "platform", "uid": "s", "resourceVersion": "1", "generation": 1}
    return projections.server({"metadata": metadata, "spec": spec, "status": status})


def member(known: PostgresServer, number: int, want: int, confirmed: int) -> MemberPool:
    """The pool parsed anew, with a ledger of two pods that was made from round `confirmed`."""
    made = projections.pool(pool(number, want))
    grants = Grants(3, 5, {"a": Grant(10, 3, 10), "b": Grant(10, 3, 10)}, {}, 0, "platform/rds", confirmed)
    body = grants_config_map(made.name, grants)
    metadata = {**body["metadata"], "namespace": made.namespace, "uid": "l", "resourceVersion": "1"}
    ledger = projections.child({**body, "metadata": metadata})
    asked = allocate.asks(parsed(made), made.status, known)
    return MemberPool(made, asked, allocate.holds(ledger, frozenset({"a", "b"})), welcome=True)


def wants(number: int) -> int:
    return 20 + number % 50


def written(status: dict[str, Any], change: Callable[[PostgresServer], list[MemberPool]]) -> dict[str, Any]:
    """One round of a server, from its object as it comes from the API server to the status that is written."""
    view = server(status)
    known = read(view)
    assert isinstance(known, PostgresServer)
    shared = allocate.shared_out(view, known, change(known), allocate.Remains(frozenset()))
    body = patch(view, server_status(view, known, shared, ServerReadings(), TODAY))
    assert body is not None  # else it would be the cost of a round that does nothing
    found: dict[str, Any] = body["status"]
    return found


def seconds(pools: int) -> tuple[float, float]:
    """CPU seconds of one server's first round and of the one after the change."""
    found: list[MemberPool] = []

    def first(known: PostgresServer) -> list[MemberPool]:
        found.extend(member(known, number, wants(number), 1) for number in range(pools))
        return found

    def later(known: PostgresServer) -> list[MemberPool]:
        for number in range(0, pools, 10):
            found[number] = member(known, number, wants(number) // 2, 2)
        return found

    begun = time.process_time()
    status = written({}, first)
    between = time.process_time()
    status = json.loads(json.dumps(status))
    resumed = time.process_time()
    written(status, later)
    return between - begun, time.process_time() - resumed


def main(argv: list[str]) -> None:
    """Print the seconds of the first round, and of one after a change, for all servers together."""
    pools, servers = (int(each) for each in argv) if argv else (1000, 10)
    rounds = [seconds(pools // servers) for _ in range(servers)]
    first, later = (sum(each) for each in zip(*rounds, strict=True))
    print(
        f"{pools} pools on {servers} servers ({naming.SERVER_KIND}): first round {first:.2f} s CPU, "
        f"a later one, before which every tenth pool wants something else, {later:.2f} s"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
