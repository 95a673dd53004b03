"""Pools at rest cost nothing: the operator writes nothing but its lease."""

import time
from collections import Counter
from collections.abc import Callable

from tests.campaign import length
from tests.cluster.audit import Audit
from tests.cluster.pools import Namespace, pool
from tests.localcluster.waiting import let_pass, until

POOLS = length("PGBOUNCER_TEST_REST_POOLS", short=10, full=50)
SECONDS = float(length("PGBOUNCER_TEST_REST_SECONDS", short=45, full=300))
SMALL = {"resources": {"requests": {"cpu": "1m", "memory": "32Mi"}}}  # fifty of them fit on two cores
FIGURES_SECONDS = 35.0  # figures that still change are written at most once in 30 s
SETTLE_SECONDS = 180.0


def test_pools_at_rest_are_not_written_to(here: Namespace, audit: Audit, say: Callable[[str], None]) -> None:
    names = [f"rest-{number}" for number in range(POOLS)]
    for name in names:
        # Each pool's own login test must not keep one of PostgreSQL's few connections.
        here.apply(pool(name, 2, replicas=1, pod=SMALL, timeouts={"serverIdleSeconds": 1}))
    here.wait_ready(*names)
    quiet = settle(here, audit)
    log = audit.now()
    let_pass(SECONDS)
    # Others may work in the same cluster: what counts is what these pools and the lease cost.
    requests = [each for each in log.requests() if each.namespace == here.name or each.resource == "leases"]
    here.wait_ready(*names)
    say(
        f"{POOLS} pools, {SECONDS:.0f} s: requests of the operator: "
        f"{dict(Counter(f'{each.verb} {each.resource}' for each in requests))}"
    )
    assert quiet
    assert {each.resource for each in requests} == {"leases"}, "no read, no write; and somebody leads"


def settle(here: Namespace, audit: Audit) -> bool:
    """Wait until the last figures are written: nothing for as long as figures may wait."""
    last = [time.monotonic(), 0.0]

    def missing() -> str:
        written = sum(each.writes and each.namespace == here.name for each in audit.requests())
        if written != last[1]:
            last[:] = [time.monotonic(), written]
        return "" if time.monotonic() - last[0] > FIGURES_SECONDS else "the operator still writes"

    until(missing, SETTLE_SECONDS, pause=1.0)
    return True
