"""What /state counts of a real PgBouncer: transactions, the time in them, and the time clients waited for a server."""

import json
import threading

import pytest
from tests.process.agentcase import PASSWORD, intent
from tests.process.agentpod import Pod, eventually
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

from pgbouncer_operator.protocol.state import AgentState, Totals

pytestmark = PROCESS


def totals(pod: Pod) -> Totals:
    """As the operator reads them, while no transaction runs.

    The agent's own test of the server may have queued with everybody else: its wait is counted when it begins, and its
    time in a transaction, the wait included, only when it ends.
    """
    document = eventually("nobody in a transaction", lambda: (state := pod.state()) and not state["busy"] and state)
    state = AgentState.from_json(json.dumps(document), document["uid"])
    assert state is not None
    assert state.totals is not None
    return state.totals


def work(pod: Pod, statement: str) -> None:
    with pod.connect("shop", "shop", PASSWORD) as client:
        client.execute(statement)


def test_time_in_transactions_and_time_that_clients_waited_are_told_apart(pod: Pod, postgres: Postgres) -> None:
    pod.mount_grant(1)
    pod.start()
    pod.runs(intent(postgres), seq=2)
    before = totals(pod)
    clients = [threading.Thread(target=work, args=(pod, "select pg_sleep(0.6)")) for _ in range(3)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    done = totals(pod).since(before)
    assert done.transactions >= 3
    assert done.wait_seconds > 1.2, "two of three waited for the only connection, one of them twice as long"
    worked = done.transaction_seconds - done.wait_seconds
    assert worked == pytest.approx(1.8, abs=0.5), "three of 0.6 s, one after the other"
