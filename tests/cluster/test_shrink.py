"""A smaller budget under saturation: PostgreSQL itself soon counts no more than that, for good, and nobody fails."""

import time
from collections.abc import Callable

from tests.cluster import programs
from tests.cluster.pools import Namespace, pool
from tests.localcluster import traffic
from tests.localcluster.waiting import until

POOL = "shrink"
PODS, LARGE, SMALL = 3, 20, 5
LOAD = ("--clients", "40", "--think", "0", "--work", "0.02")
WATCHED_COUNTS = 50  # five seconds at the least


def test_a_saturated_pool_shrinks_to_its_new_budget_and_stays_there(
    here: Namespace, say: Callable[[str], None]
) -> None:
    # One pod's worth is kept for a roll, so what the pods use at rest is less than all.
    here.apply(pool(POOL, LARGE, replicas=PODS))
    here.wait_ready(POOL)
    counted = traffic.census(here.site, here.name)
    try:
        with programs.load(here, f"{POOL}-connection", *LOAD) as running:
            until(lambda: "" if counted.now > 2 * SMALL else f"a saturated pool: {counted.now}", 60)
            here.patch(POOL, serverConnections={"max": SMALL})
            patched, before = time.monotonic(), len(counted.counts)
            until(lambda: "" if counted.now <= SMALL else f"at most {SMALL} sessions: {counted.now}", 60, pause=0.02)
            seconds, there = time.monotonic() - patched, len(counted.counts)
            until(lambda: "" if len(counted.counts) > there + WATCHED_COUNTS else "more counts", 60)
            here.wait_ready(POOL)
            account, rows = programs.finish(here, running)
    finally:
        counted.stop()
    peak_before = max(counted.counts[:before])
    say(
        f"{LARGE} to {SMALL} under 40 saturating clients, {PODS} pods: PostgreSQL counted {peak_before} before, "
        f"at most {SMALL} {seconds:.2f} s after kubectl had patched; "
        f"{account['failed'] + account['refused']} of {account['committed']} transactions failed"
    )
    assert peak_before <= LARGE
    assert max(counted.counts[there:]) <= SMALL
    assert not programs.trouble(account, rows)
