"""The size of a pool in each mode, and what is recommended."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.reconcile.budget.test_measure import later, says, totals
from tests.unit.reconcile.looks import condition, decide, healthy, respecified, settled, told, writes

from pgbouncer_operator.api.conditions import ConditionType
from pgbouncer_operator.api.status import PoolStatus, Recommendation, ServerConnectionsStatus
from pgbouncer_operator.reconcile.budget.measure import with_measured_demand
from pgbouncer_operator.reconcile.budget.size import pool_size
from pgbouncer_operator.reconcile.cache.workloads import ClientReplicas
from pgbouncer_operator.reconcile.memory import Memory
from pgbouncer_operator.reconcile.observed import Membership, Observed
from pgbouncer_operator.sizing.allocation import Entry


def sized(mode: str, most: int = 20, **sizing: Any) -> dict[str, Any]:
    return {"serverConnections": {"max": most, "sizing": {"mode": mode, **sizing}}}


def following(**sizing: Any) -> Observed:
    spec = sized("Workloads", **{"perClientReplica": 2, **sizing})
    return healthy(**spec, clients={"workloads": [{"name": "web"}]})


def remembering(observed: Observed, size: int, value: int | None = None) -> Observed:
    """An operator that was restarted, and finds what was told before."""
    value = size if value is None else value
    before = PoolStatus(
        observed_generation=3,
        server_connections=ServerConnectionsStatus(max=20, size=size),
        recommendation=Recommendation(value=value, reason="Enough", inputs="what was seen"),
    )
    return replace(observed, status=before, memory=Memory())


def working(observed: Observed, busy: float, seconds: float, waited: float = 0.0) -> Observed:
    """The pods worked evenly for so long, with `busy` connections in use on average over both."""
    each, since = busy / 2, observed.now
    while observed.now < since + seconds:
        at = observed.now
        done = totals(round(50 * at * each), each * at + waited * at / 2, waited * at / 2)
        observed = with_measured_demand(says(observed, totals=done, busy=round(each), open=10))
        observed = later(observed, 15.0)
    return observed


@pytest.mark.parametrize(
    ("sentence", "clients", "size", "reason"),
    [
        ("two for each", ClientReplicas(5, 5, 5, 1), 10, "Enough"),
        ("no more than there is", ClientReplicas(50, 5, 50, 1), 20, "AtLimit"),
        ("never less than the pods and one of a roll need", ClientReplicas(0, 0, 0, 1), 3, "Enough"),
        ("unknown is not zero", None, 20, "ClientsUnknown"),
        ("neither is what was not found", ClientReplicas(0, 0, 0, 0, ("Deployment web",)), 20, "ClientsUnknown"),
    ],
)
def test_a_size_by_workloads(sentence: str, clients: ClientReplicas | None, size: int, reason: str) -> None:
    found = pool_size(replace(following(), clients=clients))
    assert (found.size, found.recommendation.value, found.recommendation.reason) == (size, size, reason), sentence


@pytest.mark.parametrize(
    ("sentence", "replicas", "size", "reason"),
    [
        ("the one that is left needs less", 2, 12, "ClientsUnknown"),
        ("it needs more", 8, 16, "Enough"),
        ("it needs more than there is", 50, 20, "AtLimit"),
    ],
)
def test_a_workload_that_is_missing_shrinks_nothing(sentence: str, replicas: int, size: int, reason: str) -> None:
    observed = remembering(following(), 12)
    found = pool_size(replace(observed, clients=ClientReplicas(replicas, replicas, replicas, 1, ("Deployment web",))))
    assert (found.size, found.recommendation.value, found.recommendation.reason) == (size, size, reason), sentence
    assert found.recommendation.inputs == (
        f"{replicas} client replicas, 2 connections for each; "
        "not all of clients.workloads exist: the size does not shrink"
    )
    again = pool_size(replace(observed, clients=ClientReplicas(2, 2, 2, 2)))
    assert again.size == 4, "all are there"


def test_the_users_least_is_kept() -> None:
    assert pool_size(replace(following(min=7), clients=ClientReplicas(1, 1, 1, 1))).size == 7


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"replicas": 30}, "30 wanted, 20 fit: serverConnections.max is 20"),
        (
            {"databases": [{"name": f"d{number}"} for number in range(21)]},
            "2 wanted, 0 fit: serverConnections.max is 20",
        ),
    ],
)
def test_where_pods_do_not_fit_all_that_may_be_held_is(spec: dict[str, Any], message: str) -> None:
    workloads = {"workloads": [{"name": "web"}]}
    observed = healthy(**sized("Workloads", perClientReplica=2), clients=workloads)
    observed = respecified(observed, **sized("Workloads", perClientReplica=2), clients=workloads, **spec)
    observed = replace(observed, clients=ClientReplicas(1, 1, 1, 1))
    assert pool_size(observed).size == 20
    assert condition(observed, ConditionType.WITHIN_BUDGET)[2].startswith(message)


@pytest.mark.parametrize("mode", ["Workloads", "Demand"])
def test_a_restart_holds_the_size_that_was_told(mode: str) -> None:
    observed = following() if mode == "Workloads" else healthy(**sized(mode))
    assert pool_size(remembering(observed, 12)).size == 12
    assert pool_size(remembering(observed, 500)).size == 20, "but not above the maximum"


def test_a_pool_that_was_never_sized_begins_with_all_it_may_hold() -> None:
    assert pool_size(healthy(**sized("Demand"))).size == 20


def test_a_fixed_size_is_the_maximum_whatever_is_recommended() -> None:
    observed = working(healthy(**sized("Fixed", most=60)), busy=4.0, seconds=400.0)
    found = pool_size(observed)
    assert found.size == 60
    assert (found.recommendation.value, found.recommendation.reason) == (8, "Enough")
    assert found.recommendation.inputs == "4.0 connections in use"


def test_a_fixed_pool_that_would_need_more_is_told_so() -> None:
    found = pool_size(working(healthy(**sized("Fixed", most=8)), busy=8.0, seconds=120.0, waited=3.0))
    assert (found.size, found.recommendation.value, found.recommendation.reason) == (8, 8, "AtLimit")
    assert found.recommendation.inputs == "11.0 connections in use, 3.0 clients waited"


def test_a_demand_that_is_low_for_minutes_shrinks_a_pool_slowly() -> None:
    observed = working(healthy(**sized("Demand", most=40)), busy=4.0, seconds=290.0)
    assert pool_size(observed).size == 40, "not yet"
    observed = working(observed, busy=4.0, seconds=60.0)
    assert 31 <= pool_size(observed).size < 40
    assert pool_size(working(observed, busy=4.0, seconds=1200.0)).size == 8


@pytest.mark.parametrize(
    ("clients", "why"),
    [
        (None, "the operator cannot list clients.workloads"),
        (ClientReplicas(0, 0, 0, 0, ("Deployment web",)), "none of clients.workloads exists"),
        (ClientReplicas(1, 1, 1, 1, ("Deployment web",)), "not all of clients.workloads exist"),
    ],
)
def test_a_demand_whose_clients_cannot_all_be_seen_shrinks_no_pool(clients: ClientReplicas | None, why: str) -> None:
    observed = healthy(**sized("Demand", most=40), clients={"workloads": [{"name": "web"}]})
    observed = working(replace(observed, clients=clients), busy=4.0, seconds=1200.0)
    found = pool_size(observed)
    assert (found.size, found.recommendation.reason) == (40, "ClientsUnknown")
    assert found.recommendation.inputs.endswith(f"; {why}: the size does not shrink")
    observed = working(replace(observed, clients=ClientReplicas(5, 5, 5, 1)), busy=4.0, seconds=1200.0)
    assert pool_size(observed).size == 8, "all are seen"


def test_a_restart_does_not_forget_what_demand_had_found_and_does_not_shrink_at_once() -> None:
    observed = remembering(healthy(**sized("Demand", most=40)), 24)
    for _ in range(15):
        observed = later(with_measured_demand(says(observed, totals=totals(0, 0.0), busy=0)), 15.0)
        assert pool_size(observed).size == 24


def test_a_restart_while_the_server_is_slow_does_not_grow_a_pool() -> None:
    observed = says(
        remembering(healthy(**sized("Demand", most=60)), 12), totals=totals(100_000, 2000.0), busy=6, open=6
    )
    for number in range(1, 9):
        slow = totals(100_000 + 900 * number, 2000.0 + 90.0 * number)  # 6 connections, 100 ms instead of 20
        observed = says(later(with_measured_demand(observed), 15.0), totals=slow, busy=6, open=6, waiting=20)
    found = pool_size(with_measured_demand(observed))
    assert (found.size, found.recommendation.reason) == (12, "ServerSlow")


def test_demand_takes_over_from_the_size_in_force() -> None:
    observed = remembering(working(healthy(**sized("Fixed")), busy=2.0, seconds=400.0), 20, value=6)
    assert pool_size(respecified(observed, **sized("Demand"))).size == 20


def test_demand_begins_where_a_fixed_size_ended_although_less_would_have_done() -> None:
    observed = working(healthy(**sized("Fixed", most=40)), busy=2.0, seconds=900.0)
    assert pool_size(respecified(observed, **sized("Demand", most=40))).size == 40


def test_what_a_fixed_pool_was_recommended_stands_through_a_restart() -> None:
    observed = remembering(healthy(), 20, value=9)
    assert pool_size(observed).recommendation.inputs == "what was seen"
    young = later(
        with_measured_demand(later(with_measured_demand(says(observed, totals=totals(0, 0.0), busy=0)), 15.0)), 15.0
    )
    assert pool_size(young).recommendation.value == 9


def test_a_pool_at_rest_is_told_once() -> None:
    observed = says(healthy(), totals=totals(0, 0.0), busy=0, clients=0)
    observed = settled(with_measured_demand(observed))
    for _ in range(60):
        observed = with_measured_demand(later(observed, 15.0))
        made = decide(observed)
        assert made.phases == ()
        observed = replace(observed, memory=made.memory)


def test_the_ledger_divides_the_size_and_the_maximum_stays_what_it_is() -> None:
    observed = replace(following(), clients=ClientReplicas(5, 5, 5, 1))
    made = decide(observed)
    assert told(made)["serverConnections"]["max"] == 20
    assert told(made)["serverConnections"]["size"] == 10
    assert told(made)["summary"]["connections"] == "8/10"
    (ledger,) = (step for step in writes(made) if step.key == ("ConfigMap", "shop-grants"))
    assert '"cap": 5' in ledger.body["data"]["grants.json"]
    assert condition(observed, ConditionType.WITHIN_BUDGET)[0] == "True"


def test_a_pool_is_told_what_it_wants_and_what_its_server_gives() -> None:
    entry = Entry("web/shop", "pool-uid", 8, 8, 1)
    observed = replace(following(), clients=ClientReplicas(5, 5, 5, 1), membership=Membership("platform/rds", entry))
    made = told(decide(observed))
    assert made["serverConnections"]["size"] == 10
    assert made["summary"]["connections"] == "8/8", "open, of those given"
    generous = replace(observed, membership=Membership("platform/rds", replace(entry, connections=15)))
    assert told(decide(generous))["summary"]["connections"] == "8/10"


def test_a_size_that_changes_is_an_event_with_its_figures_and_told_at_once() -> None:
    observed = settled(replace(following(), clients=ClientReplicas(5, 5, 5, 1)))
    made = decide(replace(later(observed, 1.0), clients=ClientReplicas(8, 5, 8, 1)))
    assert told(made)["serverConnections"]["size"] == 16
    (event,) = (each for each in made.announcements if each.reason == "Resized")
    assert event.message == (
        "The size changes from 10 to 16 server connections. Enough: 8 client replicas, 2 connections for each."
    )
    assert not event.warning
    assert not [each for each in decide(observed).announcements if each.reason == "Resized"]


def test_figures_of_a_recommendation_wait_their_turn() -> None:
    observed = settled(working(healthy(), busy=4.0, seconds=60.0))
    changed = working(observed, busy=5.0, seconds=15.0)
    assert decide(changed).phases == ()
    assert told(decide(later(changed, 30.0)))["recommendation"]["inputs"] != "4.0 connections in use"
