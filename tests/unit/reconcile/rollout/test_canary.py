"""How a change reaches the pods: one first, then the others, and back when it makes things worse."""

from dataclasses import replace

import pytest
from tests.unit.reconcile.looks import (
    condition,
    decide,
    healthy,
    pod,
    respecified,
    wanted,
    writes,
)
from tests.unit.reconcile.trials import (
    NEW,
    OLD,
    OTHER,
    OUT,
    UNTRIED,
    documents,
    hashes,
    later,
    rollout_of,
    saying,
    scene,
    told,
    trying,
)

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import ConditionType
from pgbouncer_operator.reconcile.memory import SecretsRead
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pause import Pause
from pgbouncer_operator.reconcile.rollout.canary import FIRST_PAUSE, STUCK
from pgbouncer_operator.reconcile.rollout.verdict import STALE, TROUBLED, UNCONFIRMED, UNTESTED
from pgbouncer_operator.reconcile.status.timing import BROKEN


def test_a_change_is_told_to_one_pod_and_the_current_configuration_stays() -> None:
    observed = scene({"b": OLD.digest, "a": OLD.digest})
    assert hashes(rollout_of(observed)) == (OLD.digest, NEW.digest)
    assert told(rollout_of(observed)) == {"a"}
    assert [str(step) for step in writes(decide(observed))] == [
        "apply ConfigMap/shop-pgbouncer",
        "patch Pod/shop-a/status",
    ]


def test_a_pod_that_is_not_ready_is_not_the_first() -> None:
    observed = scene({"a": OLD.digest, "b": OLD.digest, "c": OLD.digest})
    observed = replace(observed, pods=(replace(observed.pods[0], ready=False), *observed.pods[1:]))
    assert told(rollout_of(observed)) == {"b"}


def test_while_the_login_is_not_tested_the_others_wait() -> None:
    assert told(rollout_of(trying(backend=UNTRIED))) == {"a"}
    assert told(rollout_of(later(trying(backend=UNTRIED), UNTESTED))) == {"a", "b", "c"}


def test_once_one_pod_is_well_the_others_are_told_and_at_last_it_becomes_current() -> None:
    observed = trying()
    assert told(rollout_of(observed)) == {"a", "b", "c"}
    assert hashes(rollout_of(observed)) == (OLD.digest, NEW.digest)
    observed = saying(observed, "b", NEW.digest)
    assert hashes(rollout_of(observed)) == (OLD.digest, NEW.digest)
    assert hashes(rollout_of(saying(observed, "c", NEW.digest))) == (NEW.digest, "")


def test_becoming_current_pokes_nobody() -> None:
    observed = scene(dict.fromkeys(("a", "b"), NEW.digest), NEW.to_json())
    observed = saying(saying(observed, "a", NEW.digest), "b", NEW.digest)
    (step,) = writes(decide(observed))
    assert step.key == ("ConfigMap", "shop-pgbouncer")
    assert set(step.body["data"]) == {naming.INTENT_KEY}


def test_a_refusal_takes_the_candidate_back_and_names_pgbouncers_words() -> None:
    observed = trying(digest=OLD.digest, problems=[{"reason": "CandidateRefused", "message": "line 3 is wrong"}])
    assert told(rollout_of(observed)) == set()
    assert hashes(rollout_of(observed)) == (OLD.digest, NEW.digest)
    status, reason, message = condition(observed, ConditionType.CONFIGURATION_APPLIED)
    assert (status, reason) == ("False", "ConfigurationRefused")
    assert "Pod shop-a: line 3 is wrong" in message
    assert condition(observed, ConditionType.STALLED)[:2] == ("True", "ConfigurationRefused")
    assert any(each.warning and "line 3" in each.message for each in decide(observed).announcements)


def test_a_complaint_right_after_the_pod_was_told_may_be_about_the_one_before() -> None:
    observed = trying(digest=OLD.digest, problems=[{"reason": "CandidateRefused", "message": "line 3"}])
    assert observed.memory.trial
    observed = observed.remember(trial=replace(observed.memory.trial, since=observed.now - STALE / 2))
    assert told(rollout_of(observed)) == {"a"}


def test_a_login_that_worked_before_and_fails_now_takes_it_back_and_the_pool_stays_reachable() -> None:
    observed = trying(backend=OUT)
    assert told(rollout_of(observed)) == set()
    status, reason, message = condition(observed, ConditionType.CONFIGURATION_APPLIED)
    assert (status, reason) == ("False", "CanaryFailed")
    assert "moved: no such host" in message
    assert condition(observed, ConditionType.BACKEND_REACHABLE)[0] == "True"


def test_a_login_that_failed_for_everybody_before_keeps_no_change_out() -> None:
    observed = trying(backend=OUT)
    for uid in ("b", "c"):
        observed = saying(observed, uid, OLD.digest, backend=OUT)
    assert told(rollout_of(observed)) == {"a", "b", "c"}


def test_a_paused_pool_is_not_asked_for_a_login() -> None:
    observed = trying(backend=UNTRIED)
    assert told(rollout_of(replace(observed, pause=Pause(until=1000, left=5)))) == {"a", "b", "c"}
    assert told(rollout_of(replace(observed, pause=Pause(until=1000, left=0)))) == {"a"}, "queries flow again"


@pytest.mark.parametrize(
    ("problems", "patience"),
    [
        (({"reason": "VerifyFailed", "message": "max_client_conn is 5"},), TROUBLED),
        (({"reason": "ConsoleUnreachable", "message": "no console"},), UNCONFIRMED),
    ],
)
def test_a_pod_that_does_not_confirm_for_long_has_failed(problems: tuple[dict[str, str], ...], patience: float) -> None:
    observed = trying(digest=OLD.digest, problems=list(problems))
    assert told(rollout_of(later(observed, patience - 2.0))) == {"a"}
    failed = rollout_of(later(observed, patience))
    assert told(failed) == set()
    assert failed.trial
    assert problems[0]["message"] in failed.trial.message


def test_agents_that_know_no_candidates_get_their_configuration_as_current() -> None:
    observed = scene({"a": OLD.digest, "b": OLD.digest})
    states = {uid: replace(each, candidates=False) for uid, each in observed.states.items() if each}
    assert hashes(rollout_of(replace(observed, states=states))) == (NEW.digest, "")
    mixed = replace(observed, states=states | {"b": observed.states["b"]})
    assert told(rollout_of(mixed)) == {"b"}


def failed() -> Observed:
    """The canary has failed a moment ago and is told the old one again."""
    observed = trying(backend=OUT)
    observed = replace(observed, memory=decide(observed).memory)
    observed = replace(observed, pods=tuple(replace(each, config=OLD.digest) for each in observed.pods))
    return saying(observed, "a", OLD.digest)


def test_what_failed_is_tried_again_after_pauses_that_double() -> None:
    observed = failed()
    assert told(rollout_of(later(observed, FIRST_PAUSE - 0.1))) == set()
    again = rollout_of(later(observed, FIRST_PAUSE))
    assert told(again) == {"a"}
    assert again.trial
    assert again.trial.failures == 1
    assert condition(later(observed, FIRST_PAUSE), ConditionType.CONFIGURATION_APPLIED)[1] == "CanaryFailed"


def test_a_pool_that_waits_to_try_again_is_looked_at_in_time_and_written_to_by_nobody() -> None:
    observed = failed()
    made = decide(
        later(replace(observed, pods=observed.pods[:2], states={uid: observed.states[uid] for uid in "ab"}), 20.0)
    )
    assert writes(made) == []
    assert not made.at_rest
    assert made.requeue_after == BROKEN, "the Secrets may have been mended"
    assert decide(later(observed, FIRST_PAUSE - 1.0)).requeue_after == pytest.approx(1.0)


def test_another_spec_or_other_secrets_are_tried_at_once() -> None:
    observed = failed()
    read = SecretsRead(observed.now, "", None, {}, "v2")
    assert told(rollout_of(observed.remember(reading=read))) == {"a"}
    newer = replace(observed, view=replace(observed.view, generation=observed.view.generation + 1))
    assert told(rollout_of(newer)) == {"a"}


def test_a_change_taken_back_removes_the_candidate_and_everybody_runs_current() -> None:
    observed = replace(trying(), view=healthy().view, spec=healthy().spec)
    assert hashes(rollout_of(observed)) == (OLD.digest, "")
    assert told(rollout_of(observed), OLD.digest) == {"a", "b", "c"}


def test_a_change_of_a_change_waits_until_the_first_is_taken_back() -> None:
    observed = respecified(trying(), backend={"host": "elsewhere"})
    found = rollout_of(observed)
    assert hashes(found) == (OLD.digest, OTHER.digest)
    assert told(found, OLD.digest) == {"a", "b", "c"}
    observed = replace(observed, pods=tuple(replace(each, config=OLD.digest) for each in observed.pods))
    observed = documents(observed, OLD.to_json(), OTHER.to_json())
    assert told(rollout_of(saying(observed, "a", OLD.digest)), OTHER.digest) == {"a"}


def test_a_change_of_a_change_that_was_proven_builds_on_it() -> None:
    observed = respecified(trying(), backend={"host": "elsewhere"})
    observed = replace(observed, pods=tuple(replace(each, config=NEW.digest) for each in observed.pods))
    assert hashes(rollout_of(observed)) == (NEW.digest, OTHER.digest)


@pytest.mark.parametrize("uids", ["", "a"])
def test_fewer_than_two_pods_are_told_at_once(uids: str) -> None:
    observed = scene(dict.fromkeys(uids, OLD.digest))
    assert hashes(rollout_of(observed)) == (NEW.digest, "")
    assert told(rollout_of(observed)) == set(uids)


def test_pods_that_serve_and_give_no_answer_are_given_a_moment() -> None:
    observed = scene({"a": OLD.digest, "b": OLD.digest})
    observed = replace(observed, states={"a": None, "b": None})
    first = rollout_of(observed)
    assert hashes(first) == (OLD.digest, "")
    assert hashes(rollout_of(later(observed.remember(trial=first.trial), 3.0))) == (NEW.digest, "")


def test_a_newborn_runs_current_until_the_candidate_is_proven() -> None:
    observed = trying()
    newborn = pod("d", "", ready=False, poke="")
    observed = replace(observed, pods=(*observed.pods, newborn), states={**observed.states, "d": None})
    assert told(rollout_of(observed)) == {"a", "b", "c"}
    observed = saying(saying(observed, "b", NEW.digest), "c", NEW.digest)
    assert hashes(rollout_of(observed)) == (NEW.digest, "")
    assert told(rollout_of(observed)) == {"a", "b", "c", "d"}


def test_when_the_pod_that_tries_goes_another_one_tries() -> None:
    observed = trying()
    observed = replace(observed, pods=(replace(observed.pods[0], terminating=True), *observed.pods[1:]))
    assert told(rollout_of(observed)) == {"b"}


def test_a_pod_that_hangs_does_not_hold_a_proven_configuration_up_for_ever() -> None:
    observed = scene(dict.fromkeys(("a", "b", "c"), NEW.digest), NEW.to_json())
    observed = saying(saying(observed, "a", NEW.digest), "b", NEW.digest)
    observed = observed.remember(trial=rollout_of(observed).trial)
    assert hashes(rollout_of(later(observed, STUCK - 1.0))) == (OLD.digest, NEW.digest)
    assert hashes(rollout_of(later(observed, STUCK))) == (NEW.digest, "")


def test_a_change_that_rolls_replaces_current_at_once() -> None:
    users = [{"name": name, "secretRef": {"name": "shop-db"}} for name in ("shop", "more")]
    rolled = wanted(users=users).intent
    assert hashes(rollout_of(scene({"a": OLD.digest, "b": OLD.digest}, users=users))) == (rolled.digest, "")


def test_a_change_that_rolls_and_moves_to_another_server_is_tried_first() -> None:
    users = [{"name": name, "secretRef": {"name": "shop-db"}} for name in ("shop", "more")]
    moved = {"users": users, "backend": {"host": "elsewhere"}}
    assert hashes(rollout_of(scene({"a": OLD.digest, "b": OLD.digest}, **moved))) == (
        OLD.digest,
        wanted(**moved).intent.digest,
    )


@pytest.mark.parametrize(("backend", "rolled"), [({"host": "postgres"}, True), ({"host": "elsewhere"}, False)])
def test_a_roll_waits_while_another_server_is_tried(backend: dict[str, str], rolled: bool) -> None:
    spec = {"drain": {"timeoutSeconds": 9}, "backend": backend, "serverConnections": {"max": 60}}
    found = decide(scene({"a": OLD.digest, "b": OLD.digest}, **spec))
    assert any(step.key[0] == "Deployment" for step in writes(found)) is rolled


def test_nothing_that_was_refused_becomes_current_because_the_pods_went() -> None:
    observed = failed()
    gone = replace(observed, pods=(), states={})
    assert hashes(rollout_of(gone)) == (OLD.digest, NEW.digest)
    untried = scene({}, NEW.to_json())
    assert hashes(rollout_of(untried)) == (NEW.digest, "")


def test_a_current_document_that_somebody_spoiled_is_mended() -> None:
    spoiled = documents(healthy(), "{")
    assert hashes(rollout_of(spoiled)) == (OLD.digest, "")
