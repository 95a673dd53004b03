"""What the first status of a pool says, and when it is written."""

from dataclasses import replace

from tests.unit.reconcile.looks import (
    condition,
    decide,
    healthy,
    settled,
    told,
)

from pgbouncer_operator.api.conditions import ConditionType, Reason
from pgbouncer_operator.reconcile.memory import Memory, Missing, Refusal, SecretsRead
from pgbouncer_operator.reconcile.observed import Credentials, Observed
from pgbouncer_operator.reconcile.status.timing import AT_REST, FIRST_STATUS, FIRST_VERDICT
from pgbouncer_operator.resources.login import Login

READY, STALLED = ConditionType.READY, ConditionType.STALLED


def just_made() -> Observed:
    """A moment after everything was created: no pod yet, and no status."""
    observed = replace(healthy(), pods=(), states={}, ledger=None)
    read = replace(
        observed,
        credentials=Credentials({"shop": Login("app", "c4n4ry")}, "1"),
        secrets={"shop-connection": None, "shop-direct": None},
    )
    return replace(observed, memory=decide(read).memory, now=observed.now + 0.1)


def test_the_first_status_tells_what_has_become_of_the_pods() -> None:
    found = decide(just_made())
    status = "apply ConnectionPool/shop/status"
    assert status not in map(str, found.steps), "a status without a word on the pods would be followed by another one"
    assert not found.announcements
    pods = tuple(
        replace(each, ready=False, address="", placed=False, config="", poke="") for each in healthy().pods
    )  # fmt: skip
    born = replace(just_made(), pods=pods, memory=found.memory)
    assert status not in map(str, decide(born).steps)
    stuck = replace(born, pods=tuple(replace(each, trouble="Unschedulable: 0/1 nodes") for each in pods))
    assert condition(stuck, READY)[2] == "0 of 2 pods are ready. shop-a: Unschedulable: 0/1 nodes"
    slow = replace(born, now=born.now + FIRST_STATUS)
    assert status not in map(str, decide(slow).steps), "in a burst the scheduler takes longer"
    assert condition(replace(born, now=born.now + FIRST_VERDICT), READY)[2] == "0 of 2 pods are ready."
    placed = replace(born, pods=tuple(replace(each, placed=True) for each in pods))
    assert condition(placed, READY)[2] == "0 of 2 pods are ready."


def test_the_first_status_waits_for_pods_only_a_moment_and_not_for_what_the_user_has_to_mend() -> None:
    observed = just_made()
    late = replace(observed, now=observed.now + FIRST_STATUS)
    assert condition(late, READY)[2] == "0 of 2 pods are ready."
    assert told(decide(late))["connectionSecrets"] == ["shop-connection", "shop-direct"]
    assert told(decide(late))["binding"] == {"name": "shop-connection"}
    missing = Missing(Reason.SECRET_NOT_FOUND, "Secret shop-db does not exist.")
    assert condition(observed.remember(reading=SecretsRead(990.0, "", missing, {})), READY)[1] == "SecretNotFound"
    refused = replace(observed, pods=(), states={}, memory=Memory(refusals={("Service", "shop"): refusal()}))
    children = {key: each for key, each in refused.children.items() if key[0] != "Service"}
    assert condition(replace(refused, children=children), STALLED)[1] == "NameConflict"
    tight = replace(healthy(serverConnections={"max": 1}, replicas=2), pods=(), states={})
    assert condition(tight, ConditionType.WITHIN_BUDGET)[1] == "ReplicasClamped"


def test_pods_that_nobody_can_place_are_left_to_kubernetes_news_once_they_are_told() -> None:
    """A thousand such pools must not cost two hundred looks a second."""
    pods = tuple(replace(each, ready=False, address="", placed=False, trouble="no room") for each in healthy().pods)
    stuck = replace(healthy(), pods=pods, states={"a": None, "b": None})
    assert not decide(stuck).at_rest
    told_once = decide(settled(stuck))
    assert (told_once.steps, told_once.at_rest, told_once.requeue_after) == ((), True, AT_REST)
    reading = SecretsRead(990.0, "", Missing(Reason.SECRET_NOT_FOUND, "Secret shop-db does not exist."), {})
    lacking = decide(settled(stuck.remember(reading=reading))).requeue_after
    assert lacking is not None
    assert lacking < AT_REST, "a Secret that comes is noticed soon"


def refusal() -> Refusal:
    return Refusal(Reason.NAME_CONFLICT, "a Service of this name exists.", 999.0)
