"""Which writes a look leads to, and in which order."""

import base64
from dataclasses import replace

import pytest
from tests.unit.reconcile.looks import decide, healthy, live, pod, respecified, saying, settled, state, wanted, writes

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.reconcile.memory import Missing, Refusal
from pgbouncer_operator.reconcile.observed import Credentials, Ledger, Observed, WrittenSecret
from pgbouncer_operator.reconcile.steps import Action, Plan
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.resources.login import Login

PASSWORD = "c4n4ry"
CREDENTIALS = Credentials({"shop": Login("app", PASSWORD)}, "v1")


def empty(**spec: object) -> Observed:
    return replace(healthy(**spec), children={}, pods=(), states={}, ledger=None)


def lines(found: Plan) -> list[list[str]]:
    return [[str(step) for step in phase] for phase in found.phases]


def replicas(found: Plan) -> int | None:
    step = next((each for each in found.steps if each.key[0] == "Deployment"), None)
    return step.body["spec"]["replicas"] if step else None


def test_a_new_pool_gets_what_pods_mount_before_it_gets_pods() -> None:
    observed = replace(empty(), credentials=CREDENTIALS, secrets={"shop-connection": None, "shop-direct": None})
    assert lines(decide(observed)) == [
        [
            "create ConfigMap/shop-pgbouncer",
            "create Service/shop",
            "create PodDisruptionBudget/shop-pgbouncer",
            "create Secret/shop-connection",
            "create Secret/shop-direct",
        ],
        ["create Deployment/shop-pgbouncer"],
    ]


def test_a_pool_at_rest_is_written_to_by_nobody() -> None:
    assert decide(settled(healthy())).steps == ()


def test_a_pool_that_goes_leaves_everything_to_its_owner_references() -> None:
    observed = healthy()
    found = decide(replace(observed, view=replace(observed.view, deleting=True)))
    assert (found.steps, found.announcements, found.requeue_after) == ((), (), None)


def test_no_password_is_in_a_printed_plan() -> None:
    observed = replace(empty(), credentials=CREDENTIALS, secrets={})
    found = decide(observed)
    assert PASSWORD not in repr(found)
    assert base64.b64encode(PASSWORD.encode()).decode() not in repr(found)
    secret = next(step for step in found.steps if step.key[0] == "Secret")
    assert naming.ANNOTATION_APPLIED not in str(secret.body["metadata"]), "a hash would let the password be guessed"


def test_a_deployment_that_somebody_scaled_is_scaled_back() -> None:
    observed = healthy()
    body = wanted().deployment
    body = {**body, "spec": {**body["spec"], "replicas": 5}}
    observed = replace(observed, children={**observed.children, ("Deployment", "shop-pgbouncer"): live(body)})
    assert replicas(decide(observed)) == 2


def test_a_changed_label_is_repaired_by_an_apply_of_exactly_this_object() -> None:
    observed = healthy()
    body = wanted().service
    spoiled = {**body, "metadata": {**body["metadata"], "labels": {naming.LABEL_POOL: "shop"}}}
    observed = replace(observed, children={**observed.children, ("Service", "shop"): live(spoiled, posted=True)})
    (step,) = writes(decide(observed))
    assert (step.action, step.key, step.posted) == (Action.APPLY, ("Service", "shop"), True)
    assert step.body["metadata"]["uid"] == "child-uid"


def test_a_newer_operator_rolls_nothing_and_still_scales() -> None:
    newer = Platform("pool:2", "IfNotPresent", 5)
    assert not writes(decide(healthy(), newer))
    fewer = decide(respecified(healthy(), replicas=1), newer)
    step = next(each for each in fewer.steps if each.key[0] == "Deployment")
    assert step.action is Action.PATCH
    assert set(step.body["spec"]) == {"replicas", "strategy"}


def test_pods_are_added_only_as_there_is_room_for_each() -> None:
    observed = respecified(healthy(), replicas=4)
    assert replicas(decide(observed)) in {None, 2}, "the two hold everything"
    half = Grants(6, 4, {"a": Grant(5, 6, 10), "b": Grant(5, 6, 10)})
    shrunk = replace(observed, ledger=Ledger(half, 10))
    shrunk = saying(shrunk, "a", seq=6, cap=5, open=5)
    assert replicas(decide(shrunk)) == 3, "a has given back 5, b not yet"
    shrunk = saying(shrunk, "b", seq=6, cap=5, open=5)
    assert replicas(decide(shrunk)) == 4


@pytest.mark.parametrize("leaves", [("a", "b"), ("a",), ()])
def test_a_deleted_deployment_is_made_again_at_once_while_the_old_pods_hold_everything(leaves: tuple[str, ...]) -> None:
    observed = healthy()
    children = {key: each for key, each in observed.children.items() if key[0] != "Deployment"}
    leaving = tuple(replace(each, terminating=True) for each in observed.pods if each.uid in leaves)
    gone = replace(observed, children=children, pods=leaving)
    lost = replace(gone, states={uid: each for uid, each in gone.states.items() if uid in leaves})
    assert replicas(decide(lost)) == max(1, len(leaves)), "one for each that leaves; the lost are charged"


def test_fewer_pods_are_wanted_at_once() -> None:
    assert replicas(decide(respecified(healthy(), replicas=1))) == 1


def test_a_roll_waits_until_the_pods_have_made_room_for_one_more() -> None:
    observed = respecified(healthy(), drain={"timeoutSeconds": 9})
    first = decide(observed)
    assert replicas(first) is None
    ledger = next(step for step in first.steps if step.key == ("ConfigMap", "shop-grants"))
    grants = Grants.from_json(ledger.body["data"][naming.GRANTS_KEY])
    assert {grant.cap for grant in grants.pods.values()} == {7}
    after = replace(observed, ledger=Ledger(grants, 10))
    for uid in ("a", "b"):
        after = saying(after, uid, seq=6, cap=7, open=7)
    (step,) = [each for each in decide(after).steps if each.key[0] == "Deployment"]
    assert step.action is Action.APPLY


def test_a_roll_that_waits_for_room_does_not_hold_up_the_scaling_down_that_makes_it() -> None:
    observed = healthy(replicas=4)
    digest = wanted().intent.digest
    pods = tuple(pod(uid, digest) for uid in "abcd")
    grants = Grants(5, 4, {uid: Grant(5, 5, 5) for uid in "abcd"})
    observed = replace(
        observed, pods=pods, states={uid: state(uid, digest, cap=5) for uid in "abcd"}, ledger=Ledger(grants, 9)
    )
    found = decide(respecified(observed, replicas=2, drain={"timeoutSeconds": 9}))
    (step,) = [each for each in found.steps if each.key[0] == "Deployment"]
    assert (step.action, step.body["spec"]["replicas"]) == (Action.PATCH, 2)


def test_a_refused_write_is_tried_again_after_5_seconds_and_holds_up_nothing_else() -> None:
    observed = empty()
    refusal = Refusal(Reason.NAME_CONFLICT, "it exists", 990.0)
    observed = observed.remember(refusals={("Service", "shop"): refusal})
    soon = [step.key for step in decide(replace(observed, now=994.9)).steps]
    assert ("Service", "shop") not in soon
    assert ("Deployment", "shop-pgbouncer") in soon
    assert ("Service", "shop") in [step.key for step in decide(replace(observed, now=995.0)).steps]


def test_a_refusal_is_forgotten_when_the_write_is_wanted_no_more() -> None:
    observed = healthy().remember(refusals={("Service", "shop"): Refusal(Reason.OBJECT_REFUSED, "no", 990.0)})
    assert decide(observed).memory.refusals == {}


def written(name: str, owner: str) -> WrittenSecret:
    return WrittenSecret(f"{name}-uid", "77", owner, {"metadata": {}, "data": {}})


def made(observed: Observed, *names: str) -> Observed:
    return replace(observed, status=observed.status.model_copy(update={"connection_secrets": names}))


def secrets_of(observed: Observed) -> list[str]:
    return [str(step) for step in decide(observed).steps if step.key[0] == "Secret"]


def test_secrets_that_were_not_read_are_left_alone() -> None:
    assert secrets_of(made(healthy(connectionSecrets=[]), "old")) == []


def test_a_secret_of_ours_that_nobody_wants_goes_by_uid_and_version() -> None:
    observed = made(healthy(connectionSecrets=[]), "old", "theirs", "gone")
    found = {"old": written("old", "pool-uid"), "theirs": written("theirs", "somebody"), "gone": None}
    (step,) = [
        each
        for each in decide(replace(observed, credentials=CREDENTIALS, secrets=found)).steps
        if each.action is Action.DELETE
    ]
    assert step.key == ("Secret", "old")
    assert (step.body["metadata"]["uid"], step.body["metadata"]["resourceVersion"]) == ("old-uid", "77")


def test_a_user_whose_secret_is_missing_changes_no_connection_secret() -> None:
    missing = Credentials({"shop": Missing(Reason.SECRET_NOT_FOUND, "it is gone")}, "v2")
    found = {name: written(name, "pool-uid") for name in ("shop-connection", "shop-direct")}
    assert secrets_of(replace(made(healthy(), *found), credentials=missing, secrets=found)) == []


def test_a_changed_password_replaces_the_secret_of_that_very_version() -> None:
    found = {name: written(name, "pool-uid") for name in ("shop-connection", "shop-direct")}
    observed = replace(made(healthy(), *found), credentials=CREDENTIALS, secrets=found)
    steps = [step for step in decide(observed).steps if step.key[0] == "Secret"]
    assert [step.action for step in steps] == [Action.REPLACE, Action.REPLACE]
    assert {step.body["metadata"]["resourceVersion"] for step in steps} == {"77"}


@pytest.mark.parametrize("silent", [("a",), ("a", "b")])
def test_no_answer_leads_to_no_growth_and_no_deletion(silent: tuple[str, ...]) -> None:
    observed = healthy()
    for uid in silent:
        observed = replace(observed, states={**observed.states, uid: None})
    assert writes(decide(observed)) == []


def test_the_ledger_is_replaced_by_compare_and_swap() -> None:
    observed = respecified(healthy(), serverConnections={"max": 10})
    step = next(each for each in decide(observed).steps if each.key == ("ConfigMap", "shop-grants"))
    assert (step.action, step.body["metadata"]["resourceVersion"]) == (Action.REPLACE, "9")


def test_a_ledger_that_is_gone_is_made_anew_above_what_pods_have_seen() -> None:
    recovered = Grants(8, 0, {"a": Grant(10, 8, 10), "b": Grant(10, 8, 10)})
    step = next(
        each
        for each in decide(replace(healthy(), ledger=Ledger(recovered, 0))).steps
        if each.key == ("ConfigMap", "shop-grants")
    )
    assert step.action is Action.CREATE
    assert Grants.from_json(step.body["data"][naming.GRANTS_KEY]).seq > 8


def test_every_write_of_an_object_that_exists_carries_the_version_that_the_decision_rests_on() -> None:
    """A process that was suspended wakes up with a plan and writes it, while another one leads."""
    body = wanted().service
    spoiled = {**body, "metadata": {**body["metadata"], "labels": {naming.LABEL_POOL: "shop"}}}
    observed = respecified(healthy(), replicas=1, databases=[{"name": "shop"}, {"name": "more"}])
    observed = replace(observed, children={**observed.children, ("Service", "shop"): live(spoiled)})
    steps = writes(decide(observed))
    assert {step.key[0] for step in steps} >= {"ConfigMap", "Deployment", "Service", "Pod"}
    for step in steps:
        assert step.body["metadata"]["resourceVersion"] == ("4" if step.key[0] == "Pod" else "9"), str(step)
