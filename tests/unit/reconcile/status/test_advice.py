"""What a pool is advised, with figures, and when it is not."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.reconcile.budget.test_measure import later, says, totals
from tests.unit.reconcile.budget.test_size import following, sized, working
from tests.unit.reconcile.looks import healthy, respecified, saying

from pgbouncer_operator.api.status import Advice, PoolStatus
from pgbouncer_operator.reconcile.budget.measure import with_measured_demand
from pgbouncer_operator.reconcile.budget.size import pool_size
from pgbouncer_operator.reconcile.cache import views
from pgbouncer_operator.reconcile.cache.workloads import ClientReplicas
from pgbouncer_operator.reconcile.memory import Memory
from pgbouncer_operator.reconcile.observed import Membership, Observed
from pgbouncer_operator.reconcile.status.advice import advice
from pgbouncer_operator.sizing.allocation import Entry


def given(observed: Observed) -> dict[str, str]:
    return {each.reason: each.message for each in advice(observed, pool_size(observed))}


def idle(observed: Observed, seconds: float) -> Observed:
    """Nothing is used for so long, as the operator sees it every 15 s."""
    since = observed.now
    while observed.now < since + seconds:
        observed = later(with_measured_demand(says(observed, totals=totals(0, 0.0), busy=0)), 15.0)
    return observed


def restarted(observed: Observed, *told: Advice) -> Observed:
    return replace(observed, memory=Memory(), status=PoolStatus(observed_generation=3, advice=told))


def test_a_healthy_pool_is_advised_nothing() -> None:
    assert given(healthy()) == {}
    assert given(working(healthy(), busy=8.0, seconds=600.0)) == {}


def test_looked_up_roles_with_md5_passwords_are_named_with_the_remedy() -> None:
    observed = saying(healthy(), "a", md5Roles=("legacy",))
    assert given(observed) == {
        "PasswordsNotScram": 'PostgreSQL stores the password of role "legacy" as md5, so clients cannot log in through '
        "authQuery: they see SASL authentication failed. Set password_encryption to scram-sha-256 and the password "
        "again by ALTER ROLE ... PASSWORD, or add the role to users."
    }


def test_of_many_roles_with_md5_passwords_three_are_named_on_one_line() -> None:
    observed = saying(healthy(), "a", md5Roles=("d", "a\n", "c"))
    observed = saying(observed, "b", md5Roles=("b", "c"))
    assert 'of roles "a?", "b", "c" and others as md5' in given(observed)["PasswordsNotScram"]


def test_a_maximum_of_which_less_than_half_would_do() -> None:
    observed = healthy(**sized("Fixed", most=60))
    assert given(working(observed, busy=4.0, seconds=200.0)) == {}, "not before enough was seen"
    assert given(working(observed, busy=4.0, seconds=400.0)) == {
        "OverSized": "8 connections would have been enough in the last minutes; serverConnections.max is 60. "
        "Lower it, or set sizing.mode to Demand."
    }


def test_a_figure_for_each_client_that_is_too_high() -> None:
    observed = replace(following(perClientReplica=4), clients=ClientReplicas(5, 5, 5, 1))
    assert given(working(observed, busy=2.0, seconds=400.0)) == {
        "OverSized": "5 connections would have been enough in the last minutes; the size is 20. "
        "Lower sizing.perClientReplica, or set sizing.mode to Demand."
    }


def test_a_figure_for_each_client_that_is_too_low() -> None:
    observed = replace(following(perClientReplica=1), clients=ClientReplicas(5, 5, 5, 1))
    assert given(working(observed, busy=5.0, seconds=120.0, waited=4.0)) == {
        "Starving": "On average 4 clients waited for a server connection in the last measurements; "
        "the demand needs 15 connections, and the size is 5. "
        "Raise sizing.perClientReplica."
    }


@pytest.mark.parametrize("mode", ["Fixed", "Demand"])
def test_a_maximum_that_is_too_small(mode: str) -> None:
    observed = healthy(**sized(mode, most=8))
    message = given(working(observed, busy=8.0, seconds=120.0, waited=6.0))["Starving"]
    assert message == (
        "On average 6 clients waited for a server connection in the last measurements; "
        "the demand needs 22 connections, and serverConnections.max is 8. "
        "Raise it if the server can take more, or shorten transactions."
    )
    assert given(working(observed, busy=8.0, seconds=30.0, waited=6.0)) == {}, "a burst is none"


def granted(observed: Observed, connections: int) -> Observed:
    entry = Entry("web/shop", "pool-uid", connections, connections, 1)
    return replace(observed, membership=Membership("platform/rds", entry))


@pytest.mark.parametrize(
    ("sentence", "spec"),
    [
        ("all that it may hold would be enough", sized("Fixed", most=60)),
        ("even that would not be", sized("Fixed", most=20)),
        ("its demand is followed as far as it goes", sized("Demand", most=60)),
        ("the server is below the user's own figure", sized("Workloads", most=60, perClientReplica=4)),
    ],
)
def test_a_server_that_gives_too_little(sentence: str, spec: dict[str, Any]) -> None:
    observed = replace(healthy(**spec, clients={"workloads": [{"name": "web"}]}), clients=ClientReplicas(5, 5, 5, 1))
    observed = granted(working(observed, busy=8.0, seconds=120.0, waited=6.0), 8)
    assert given(observed)["Starving"] == (
        "On average 6 clients waited for a server connection in the last measurements; "
        "the demand needs 22 connections, and PostgresServer platform/rds gives this pool 8. "
        "Ask its owner for a larger "
        "share of namespace web, or a larger budget, or shorten transactions."
    ), sentence


def test_a_server_that_gives_all_that_a_pool_may_hold_is_not_blamed() -> None:
    observed = granted(working(healthy(**sized("Fixed", most=8)), busy=8.0, seconds=120.0, waited=6.0), 8)
    assert given(observed)["Starving"].endswith(
        "serverConnections.max, or the share of namespace web, is 8. Raise it if the server can take more, "
        "or shorten transactions."
    )


def test_demand_that_is_below_the_maximum_helps_itself() -> None:
    assert given(working(healthy(**sized("Demand", most=60)), busy=4.0, seconds=400.0)) == {}


def test_clients_whose_own_pools_fill_a_pod() -> None:
    observed = saying(healthy(clients={"maxPerPod": 100}), "a", clients=95)
    observed = saying(observed, "b", clients=20)
    assert given(observed) == {
        "ClientsNearLimit": "1 of 2 pods have 90% or more of the 100 clients that a pod accepts. "
        "Make the pools in your clients smaller, raise clients.maxPerPod, or raise replicas."
    }


def test_the_limit_of_clients_is_the_one_in_force_where_the_node_has_too_few_open_files() -> None:
    observed = saying(healthy(clients={"maxPerPod": 2000}), "a", clients=95, clientsMax=100)
    assert given(observed) == {
        "ClientsNearLimit": "1 of 2 pods have 90% or more of the 100 clients that a pod accepts. Make the pools in "
        "your clients smaller, raise the hard limit of open files of the nodes' container runtime, or raise replicas."
    }


def test_clients_whose_own_pools_would_fill_all_pods_when_all_of_them_are_there() -> None:
    observed = saying(saying(healthy(clients={"maxPerPod": 100}), "a", clients=21), "b", clients=20)
    assert given(replace(observed, clients=ClientReplicas(5, 5, 20, 1))) == {}
    assert given(replace(observed, clients=ClientReplicas(5, 0, 30, 1))) == {}, "nobody knows what one opens"
    assert given(replace(observed, clients=ClientReplicas(5, 5, 30, 1))) == {
        "ClientsNearLimit": "Each client replica opens 9 connections: 30 replicas, the most that the workloads may "
        "have, would open 270, and all pods together accept 200. "
        "Make the pools in your clients smaller, raise clients.maxPerPod, or raise replicas."
    }


def test_an_hour_without_a_transaction() -> None:
    assert given(idle(healthy(), 3500.0)) == {}
    assert given(idle(healthy(), 3700.0)) == {
        "Idle": "No transaction in the last hour. Delete the pool if nobody needs it, or set replicas to 0."
    }


def test_a_pool_that_was_set_to_no_pods_is_not_told_to_be() -> None:
    observed = idle(healthy(), 3700.0)
    assert set(given(observed)) == {"Idle"}
    without = respecified(observed, replicas=0)
    assert given(without) == {}
    assert given(restarted(without, Advice(reason="Idle", message="as it was told"))) == {}


@pytest.mark.parametrize("reason", ["Idle", "OverSized"])
def test_what_was_told_stands_through_a_restart_until_enough_is_seen(reason: str) -> None:
    told = Advice(reason=reason, message="as it was told")
    observed = restarted(healthy(**sized("Fixed", most=60)), told)
    assert given(observed) == {reason: "as it was told"}
    assert given(idle(observed, 60.0)) == {reason: "as it was told"}
    worked = working(observed, busy=20.0, seconds=400.0)
    assert given(worked) == {}


@pytest.mark.parametrize(
    ("sentence", "clients", "expected"),
    [
        ("a slip of the pen", ClientReplicas(5, 5, 5, 1, ("Deployment webb",)),
         {"ClientsNotFound": "Not found in this namespace: Deployment webb. "
          "Create what is missing, or correct clients.workloads."}),
        ("an autoscaler that may go beyond", ClientReplicas(5, 5, 30, 1),
         {"ClientsMayOutgrow": "The client workloads may grow to 30 replicas, for which 60 connections are needed, "
          "2 each; serverConnections.max is 20. Raise it, or lower maxReplicas of their autoscaler."}),
        ("one that may not", ClientReplicas(5, 5, 10, 1), {}),
    ],
)  # fmt: skip
def test_workloads_that_cannot_be_followed(sentence: str, clients: ClientReplicas, expected: dict[str, Any]) -> None:
    assert given(replace(following(), clients=clients)) == expected, sentence


def test_workloads_that_may_not_be_listed() -> None:
    observed = following()
    assert isinstance(observed.view, views.PoolView)
    assert set(given(observed)) == {"ClientsUnknown"}


def test_a_pod_with_an_older_pgbouncer_is_told_with_its_cves() -> None:
    observed = saying(healthy(), healthy().living[0].uid, pgbouncer="1.25.1")
    message = given(observed)["PgBouncerVulnerable"]
    assert message.startswith(
        "1 pod runs PgBouncer 1.25.1, which has known vulnerabilities: CVE-2026-107350 (whoever knows one password can "
        "log in as another user), CVE-2026-107349 ("
    )
    assert message.endswith(
        "and 7 more. Replace the pods by a pool image with PgBouncer 1.26.1 or newer, such as the one of this "
        "operator's release."
    )


def test_a_pod_whose_version_is_unknown_is_not_told() -> None:
    assert given(saying(healthy(), healthy().living[0].uid, pgbouncer="")) == {}
