"""A PostgreSQL that goes and comes back: how soon clients are served again, and how long any of them can be stuck."""

import time
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from tests.process import agentdb, servers
from tests.process.agentcase import PASSWORD, intent
from tests.process.agentload import Comers
from tests.process.agentpod import Pod, eventually
from tests.process.faraway import PORT, far
from tests.process.marks import PROCESS

pytestmark = PROCESS
WAIT_SECONDS = 6
MARGIN_SECONDS = 4.0  # PgBouncer looks after its waiting clients three times a second; the machine may be slow


def until_served(pod: Pod, back: Callable[[], object]) -> float:
    """Seconds from the return of PostgreSQL to the first transaction through the pool that has begun since."""
    with Comers(pod, 4) as clients:
        back()
        served, began = clients.served, time.monotonic()
        eventually("a transaction goes through", lambda: clients.served > served, 20)
        return time.monotonic() - began


def test_clients_are_served_soon_after_postgresql_is_back(
    pod: Pod, record_property: Callable[[str, object], None]
) -> None:
    with servers.postgres() as server:
        agentdb.role(server, "shop", PASSWORD)
        wanted = pod.mount_intent(intent(server))
        pod.start()
        pod.runs(wanted)
        with Comers(pod, 4) as clients:
            eventually("clients are served", lambda: clients.served > 20)
            server.stop()
            eventually("the outage is told", lambda: pod.state()["backend"]["ok"] is False, 20)
        seconds = until_served(pod, lambda: agentdb.restart(server))
        record_property("seconds from PostgreSQL's return to the first transaction", round(seconds, 3))
        print(f"served {seconds:.2f} s after PostgreSQL was back")
        eventually("the return is told", lambda: pod.state()["backend"]["ok"], 20)


def test_no_client_is_stuck_longer_than_it_may_wait_when_packets_are_dropped(
    pod: Pod, record_property: Callable[[str, object], None]
) -> None:
    # A server of its own: it cannot know that sessions are gone whose packets were dropped.
    # The way has an address of its own; PostgreSQL sees connections from loopback as ever.
    with servers.postgres() as server, far(server.port) as way:
        agentdb.role(server, "shop", PASSWORD)
        plain = intent(server, query_wait_timeout=WAIT_SECONDS)
        database = replace(plain.databases[0], host=way.host, port=PORT)
        wanted = pod.mount_intent(replace(plain, databases=(database,)))
        pod.start()
        pod.runs(wanted)
        eventually("the way is open", lambda: pod.state()["backend"]["ok"])
        with pod.connect("shop", "shop", PASSWORD) as inside, Comers(pod, 4) as clients:
            eventually("clients are served", lambda: clients.served > 20)
            inside.execute("begin; select 1")
            way.drop()
            began = time.monotonic()
            with pytest.raises(psycopg.OperationalError):
                inside.execute("select 1")
            stuck = time.monotonic() - began
            eventually("the outage is told", lambda: pod.state()["backend"]["ok"] is False, 30)
        assert max(stuck, clients.longest) < WAIT_SECONDS + MARGIN_SECONDS
        seconds = until_served(pod, way.carry)
        record_property("seconds a client was stuck", round(max(stuck, clients.longest), 3))
        record_property("seconds from the network's return to the first transaction", round(seconds, 3))
        print(f"stuck {stuck:.2f} s inside, {clients.longest:.2f} s at most; served {seconds:.2f} s after")
        eventually("the return is told", lambda: pod.state()["backend"]["ok"], 30)
