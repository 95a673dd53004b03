"""Which Service a host means, and when a failover behind it renews server connections."""

from dataclasses import replace

import pytest
from tests.unit.reconcile.looks import decide, healthy, settled, wanted, writes

from pgbouncer_operator import naming
from pgbouncer_operator.reconcile.cache import endpoints
from pgbouncer_operator.reconcile.observed import Observed

DIGEST = wanted().intent.digest


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("postgres", ("web", "postgres")),
        ("postgres.db", ("db", "postgres")),
        ("postgres.db.svc", ("db", "postgres")),
        ("postgres.db.svc.cluster.local", ("db", "postgres")),
        ("postgres.db.svc.cluster.local.", ("db", "postgres")),
        ("pg.eu.example.com", None),
        ("10.0.0.1", None),
        ("fd00::1", None),
        ("", None),
        (".db", None),
        ("postgres..svc", None),
    ],
)
def test_a_host_means_a_service_of_the_cluster(host: str, service: tuple[str, str] | None) -> None:
    assert endpoints.service(host, "web") == service


ONE, TWO, BOTH = "web/postgres=10.1.0.1", "web/postgres=10.1.0.2", "web/postgres=10.1.0.1,10.1.0.2"


@pytest.mark.parametrize(
    ("sentence", "told", "now", "lost"),
    [
        ("another pod leads", ONE, TWO, True),
        ("nothing changed", ONE, ONE, False),
        ("one of several went away", BOTH, TWO, True),
        ("one more came", ONE, BOTH, False),
        ("nobody is ready", ONE, "", False),
        ("never told", "", TWO, False),
        ("another Service", ONE, "db/other=10.1.0.2", False),
    ],
)
def test_only_an_address_that_went_away_renews_connections(sentence: str, told: str, now: str, lost: bool) -> None:
    assert endpoints.lost(told, now) is lost, sentence


def test_only_ready_addresses_count_and_what_is_not_said_is_ready() -> None:
    body = {
        "endpoints": [
            {"addresses": ["10.1.0.2", "10.1.0.1"], "conditions": {"ready": True}},
            {"addresses": ["10.1.0.3"], "conditions": {"ready": False, "serving": True, "terminating": True}},
            {"addresses": ["10.1.0.4"]},
        ]
    }
    assert endpoints.addresses(body) == ("10.1.0.1", "10.1.0.2", "10.1.0.4")
    assert endpoints.addresses({"endpoints": None}) == ()


def at(observed: Observed, *addresses: str) -> Observed:
    return replace(observed, endpoints=addresses)


def told(observed: Observed, token: str) -> Observed:
    return replace(observed, pods=tuple(replace(pod, reconnect=token) for pod in observed.pods))


def annotations(observed: Observed) -> list[dict[str, str]]:
    return [step.body["metadata"]["annotations"] for step in writes(decide(observed)) if step.key[0] == "Pod"]


def test_a_failover_tells_every_pod_and_nothing_else() -> None:
    observed = at(told(healthy(), ONE), "10.1.0.2")
    assert annotations(observed) == [{naming.ANNOTATION_RECONNECT: TWO}] * 2
    assert len(writes(decide(observed))) == 2
    assert annotations(told(observed, TWO)) == []


def test_the_first_token_is_no_write_of_its_own() -> None:
    observed = at(healthy(), "10.1.0.1")
    assert annotations(observed) == []
    fresh = replace(observed, pods=tuple(replace(pod, config="", poke="") for pod in observed.pods))
    assert (
        annotations(fresh)
        == [{naming.ANNOTATION_CONFIG: DIGEST, naming.ANNOTATION_POKE: "5--0", naming.ANNOTATION_RECONNECT: ONE}] * 2
    )


def test_pods_that_were_never_told_are_told_when_what_we_saw_goes_away() -> None:
    observed = at(healthy(), "10.1.0.1")
    later = at(replace(observed, memory=decide(observed).memory), "10.1.0.2")
    assert annotations(later) == [{naming.ANNOTATION_RECONNECT: TWO}] * 2
    without = at(replace(observed, memory=decide(observed).memory))
    still = at(replace(observed, memory=decide(without).memory), "10.1.0.2")
    assert annotations(still) == [{naming.ANNOTATION_RECONNECT: TWO}] * 2


def born(observed: Observed, uid: str, **changes: bool) -> Observed:
    """The pod has no token yet."""
    pods = tuple(replace(pod, reconnect="", **changes) if pod.uid == uid else pod for pod in observed.pods)
    return replace(observed, pods=pods)


def after_a_move(seconds: float) -> Observed:
    """So long after a Service with running pods has led elsewhere; all pods have the new token."""
    before = at(told(healthy(), ONE), "10.1.0.1")
    moved = at(replace(before, memory=decide(before).memory), "10.1.0.2")
    later = replace(told(moved, TWO), memory=decide(moved).memory)
    return replace(later, now=moved.now + seconds)


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, True), (119.0, True), (121.0, False)])
def test_a_pod_born_after_a_move_renews_what_a_late_node_led_to_the_former_server(
    seconds: float, expected: bool
) -> None:
    observed = born(after_a_move(seconds), "a")
    assert annotations(observed) == ([{naming.ANNOTATION_RECONNECT: TWO}] if expected else [])
    assert annotations(after_a_move(seconds)) == []


def test_a_starting_pod_gets_its_token_only_when_its_agent_runs_since_the_first_one_renews_nothing() -> None:
    starting = born(after_a_move(1.0), "a", ready=False)
    silent = replace(starting, states={"b": starting.states["b"]})
    assert not any(naming.ANNOTATION_RECONNECT in each for each in annotations(silent))
    assert annotations(starting) == [{naming.ANNOTATION_RECONNECT: TWO}]


def test_a_pod_that_serves_is_told_of_a_move_though_nobody_hears_its_agent() -> None:
    assert annotations(replace(at(told(healthy(), ONE), "10.1.0.2"), states={}))[0][naming.ANNOTATION_RECONNECT] == TWO


def test_a_restart_of_the_operator_writes_nothing() -> None:
    observed = at(settled(told(healthy(), ONE)), "10.1.0.1", "10.1.0.2")
    assert writes(decide(observed)) == []


def test_addresses_that_cannot_be_known_change_nothing() -> None:
    assert annotations(replace(told(healthy(), ONE), endpoints=None)) == []


def test_another_service_renews_nothing_before_its_configuration_is_told() -> None:
    observed = at(told(healthy(), "web/former=10.1.0.9"), "10.1.0.1")
    assert annotations(observed) == []
    (first, _) = annotations(replace(observed, pods=tuple(replace(pod, poke="") for pod in observed.pods)))
    assert first[naming.ANNOTATION_RECONNECT] == ONE
