"""A pod is deleted by force under load: PostgreSQL never counts more than the budget; its successor gets its share."""

import json
from collections.abc import Callable
from typing import Any

from tests.cluster import programs
from tests.cluster.pools import Namespace, pool
from tests.localcluster import traffic

from pgbouncer_operator import naming
from pgbouncer_operator.pgbouncer.session import OUTLIVES

POOL, PODS, MOST = "forced", 2, 10
# Clients whose pod is gone connect anew; those of the other notice nothing.
LOAD = ("--clients", "30", "--think", "0.01", "--work", "0.02", "--lifetime", "3")


def entries(here: Namespace) -> dict[str, dict[str, Any]]:
    """The ledger's pods by uid."""
    text = here.get("configmap", naming.grants_config_map(POOL))["data"][naming.GRANTS_KEY]
    found: dict[str, dict[str, Any]] = json.loads(text)["pods"]
    return found


def shares(here: Namespace) -> list[int]:
    """What the ledger gives to the pods that are there, the smallest first."""
    ledger = entries(here)
    return sorted(ledger.get(pod["metadata"]["uid"], {"cap": 0})["cap"] for pod in here.pods(POOL))


def test_a_pod_deleted_by_force_keeps_its_connections_from_others_until_its_sessions_are_over(
    here: Namespace, say: Callable[[str], None]
) -> None:
    here.apply(pool(POOL, MOST, replicas=PODS))
    here.wait_ready(POOL)
    here.wait(lambda: shares(here) == [MOST // PODS] * PODS, "equal shares")
    counted = traffic.census(here.site, here.name)
    try:
        with programs.load(here, f"{POOL}-connection", *LOAD) as running:
            here.wait(lambda: counted.counts and counted.counts[-1] >= MOST - 1, "all connections are in use")
            lost = here.pods(POOL)[0]["metadata"]
            here.kubectl("delete", "pod", lost["name"], "--grace-period=0", "--force", "--wait=false")
            here.wait(lambda: entries(here).get(lost["uid"], {}).get("gone"), "a tombstone")
            here.wait(lambda: len(shares(here)) == PODS and shares(here)[0] > 0, "a share of its successor", OUTLIVES)
            here.wait(lambda: here.serving(POOL) == PODS, "a successor that serves", OUTLIVES)
            meanwhile = shares(here), lost["uid"] in entries(here)
            here.wait(lambda: lost["uid"] not in entries(here), "no tombstone", 2 * OUTLIVES)
            here.wait(lambda: shares(here) == [MOST // PODS] * PODS, "equal shares again")
            here.wait_ready(POOL)
            account = programs.settled(running)
    finally:
        counted.stop()
    say(
        f"a pod deleted by force: its successor served while the others held {meanwhile[0]} of {MOST}; PostgreSQL "
        f"counted at most {counted.peak} in {len(counted.counts)} counts; {account['committed']} transactions"
    )
    assert meanwhile[1], "the tombstone was gone before the successor served"
    assert sum(meanwhile[0]) <= MOST - MOST // PODS
    assert len(counted.counts) > 100
    assert 0 < counted.peak <= MOST
    assert account["committed"] > 1000
    here.delete(POOL)
