"""Updates that a newer operator offers, pauses, rolls and what is on its way out: how they are told."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.reconcile.looks import (
    PLATFORM,
    condition,
    decide,
    healthy,
    live,
    respecified,
    saying,
    settled,
    told,
    writes,
)

from pgbouncer_operator.api.conditions import ConditionType
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pause import Pause
from pgbouncer_operator.reconcile.rollout.last_change import track
from pgbouncer_operator.reconcile.rollout.template import rolls
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.resources.desired import desired
from pgbouncer_operator.resources.template_version import VERSION, version_in

NEWER = Platform("pool:2", "IfNotPresent", 5)
OTHER_POLICY = Platform("pool:1", "Always", 5)
OTHER_DELAY = Platform("pool:1", "IfNotPresent", 7)
PULL_SECRETS = Platform("pool:1", "IfNotPresent", 5, image_pull_secrets=("login",))


def offered(observed: Observed, platform: Platform) -> dict[str, Any]:
    status = told(decide(observed, platform))
    return {each["type"]: each for each in status["conditions"]}["UpdateAvailable"]


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        (NEWER, "image pool:2 instead of pool:1"),
        (OTHER_POLICY, "another pod template"),
        (OTHER_DELAY, "another pod template"),
        (PULL_SECRETS, "another pod template"),
    ],
)
def test_a_newer_operator_tells_what_it_offers_and_rolls_nothing(platform: Platform, words: str) -> None:
    observed = settled(healthy())
    assert writes(decide(observed, platform)) == []
    found = offered(observed, platform)
    assert (found["status"], found["reason"]) == ("True", "UpdateAvailable")
    assert words in found["message"]


@pytest.mark.parametrize(("hashed", "now"), [(7, 7), (7, 5), (300, 9)])
def test_a_pool_whose_delay_was_hashed_with_its_inputs_does_not_roll_at_the_upgrade(hashed: int, now: int) -> None:
    """Operators before hashed the chart's endpointDelaySeconds."""
    observed = healthy()
    template = desired(observed.spec, Platform("pool:1", "IfNotPresent", hashed, hashed_delay=hashed)).deployment
    observed = replace(observed, children={**observed.children, DEPLOYMENT: live(template)})
    made = decide(observed, Platform("pool:1", "IfNotPresent", now))
    assert writes(made) == []
    found = {each["type"]: each["status"] for each in told(made)["conditions"]}
    assert found["Ready"] == "True"
    assert found["UpdateAvailable"] == ("False" if hashed == now else "True")


def test_what_a_newer_operator_offers_is_no_fault_of_the_pool() -> None:
    made = decide(settled(healthy()), NEWER)
    assert {each["type"]: each["status"] for each in told(made)["conditions"]}["Ready"] == "True"
    assert [(each.warning, each.reason) for each in made.announcements] == [(False, "UpdateAvailable")]


def test_automatic_upgrades_roll_by_the_same_safe_path() -> None:
    observed = healthy(upgradePolicy="Automatic")
    (step,) = [step for step in writes(decide(observed, NEWER)) if step.key[0] == "ConfigMap"]
    assert step.key[1] == "shop-grants", "first the pods make room for one more"
    assert not [step for step in decide(observed, NEWER).steps if step.key[0] == "Deployment"]
    assert writes(decide(settled(observed), PLATFORM)) == []


def test_a_pool_is_not_ready_while_its_pods_are_still_to_be_replaced() -> None:
    """Not even before the first of them is: a user who waits for Ready waits for the present spec."""
    users = [{"name": name, "secretRef": {"name": "shop-db"}} for name in ("shop", "more")]
    due = replace(healthy(users=users), children=healthy(users=users).children | _old_deployment(healthy()))
    assert condition(healthy(users=users), ConditionType.READY)[0] == "True"
    assert condition(due, ConditionType.READY)[:2] == ("False", "WaitingForPods")
    for standing in ({"observed": False}, {"existing": 3, "updated": 2}):
        assert condition(_standing(healthy(), **standing), ConditionType.READY)[:2] == ("False", "WaitingForPods")
    message = condition(_standing(healthy(), existing=2, updated=1), ConditionType.READY)[2]
    assert message == "1 of 2 pods have the new pod template; the others are replaced in turn."


def _standing(look: Observed, /, **rollout: Any) -> Observed:
    """The same with its Deployment's controller at another point."""
    key = ("Deployment", "shop-pgbouncer")
    child = look.children[key]
    assert child.rollout is not None
    return replace(look, children={**look.children, key: replace(child, rollout=replace(child.rollout, **rollout))})


def test_a_roll_that_waits_for_room_keeps_its_name_and_its_beginning() -> None:
    users = [{"name": name, "secretRef": {"name": "shop-db"}} for name in ("shop", "more")]
    observed = respecified(healthy(), users=users)
    first = track(observed, desired(observed.spec, PLATFORM)).memory.change
    assert first is not None
    assert (first.what, first.how) == ("users", "Roll")
    written = replace(healthy(users=users), children=healthy(users=users).children | _old_deployment(observed))
    again = track(replace(written.remember(change=first), now=2000.0), desired(observed.spec, PLATFORM)).memory.change
    assert again == first


def _old_deployment(observed: Observed) -> Any:
    key = ("Deployment", "shop-pgbouncer")
    return {key: observed.children[key]}


def paused(observed: Observed, **words: Any) -> tuple[str, str, str]:
    return condition(replace(observed, pause=Pause(until=1_700_000_000, left=9, **words)), ConditionType.PAUSED)


def test_a_pause_is_true_once_every_pod_holds_queries_back() -> None:
    observed = healthy(traffic="Paused")
    assert condition(healthy(), ConditionType.PAUSED)[:2] == ("False", "Flowing")
    assert paused(observed)[:2] == ("False", "Pausing")
    observed = saying(observed, "a", traffic="Paused")
    assert paused(observed) == (
        "False",
        "Pausing",
        "1 of 2 pods hold queries back; the others wait for running transactions to end.",
    )
    status, reason, message = paused(saying(observed, "b", traffic="Paused"))
    assert (status, reason) == ("True", "Paused")
    assert message == "2 of 2 pods hold queries back, until 22:13:20 UTC at the latest."


def test_a_pause_that_is_over_says_so_until_traffic_is_asked_for() -> None:
    observed = replace(healthy(traffic="Paused"), pause=Pause(until=1_700_000_000, left=0))
    assert condition(observed, ConditionType.PAUSED)[:2] == ("False", "PauseTimedOut")
    made = decide(replace(observed, status=settled(healthy()).status))
    assert (True, "PauseTimedOut") in [(each.warning, each.reason) for each in made.announcements]


def test_during_a_pause_the_server_is_as_it_was_and_the_pool_stays_ready() -> None:
    observed = settled(healthy(traffic="Paused"))
    for uid in ("a", "b"):
        observed = saying(observed, uid, traffic="Paused", backend={"ok": None, "reason": "", "message": ""})
    observed = replace(observed, pause=Pause(until=1_700_000_000, left=9))
    assert condition(observed, ConditionType.BACKEND_REACHABLE)[0] == "True"
    assert condition(observed, ConditionType.READY)[0] == "True"


def test_what_is_on_its_way_out_is_named_with_how_long_it_may_stay() -> None:
    observed = saying(healthy(), "a", lingering=["old"])
    status, _, message = condition(observed, ConditionType.CONFIGURATION_APPLIED)
    assert status == "True"
    assert "Removed: old. Connected clients may stay for 120 s; new clients are refused." in message


def test_a_roll_that_is_stuck_names_the_new_pods_trouble_and_the_old_ones_go_on() -> None:
    observed = healthy()
    stuck = replace(
        observed.pods[1], uid="n", name="shop-n", ready=False, trouble="container pgbouncer: CrashLoopBackOff: "
    )
    observed = replace(observed, pods=(*observed.pods, stuck), states={**observed.states, "n": None})
    assert condition(observed, ConditionType.READY)[1] == "WaitingForPods"
    assert "shop-n: container pgbouncer: CrashLoopBackOff" in condition(observed, ConditionType.READY)[2]
    assert condition(observed, ConditionType.BACKEND_REACHABLE)[0] == "True"


def before_versions(observed: Observed, *uids: str) -> Observed:
    """The same with these pods, or all, made by an operator that had no versions, and an older Deployment."""
    pods = tuple(replace(each, template_version=0) if not uids or each.uid in uids else each for each in observed.pods)
    child = observed.children[DEPLOYMENT]
    assert child.rollout is not None
    rollout = replace(child.rollout, template=child.rollout.template.partition(".")[0] + ".older")
    return replace(observed, pods=pods, children={**observed.children, DEPLOYMENT: replace(child, rollout=rollout)})


def wanting(observed: Observed, version: int) -> Observed:
    """The same with a user who asks for pods of this version at least."""
    return replace(observed, view=replace(observed.view, template_version=version))


DEPLOYMENT = ("Deployment", "shop-pgbouncer")
COMMAND = f"kubectl annotate connectionpool shop -n web --overwrite pgbouncer-operator.io/template-version={VERSION}"


def test_pods_without_security_fixes_are_named_and_nothing_rolls_by_itself() -> None:
    observed = before_versions(healthy(), "b")
    made = decide(observed)
    assert writes(made) == []
    assert not rolls(observed, desired(observed.spec, PLATFORM))
    status, reason, message = condition(observed, ConditionType.UPDATE_AVAILABLE)
    assert (status, reason) == ("True", "SecurityUpdate")
    assert message.startswith("Security: 1 of 2 pods lack fixes (unknown logins are refused")
    assert message.endswith(f": shop-b. To replace them: {COMMAND}")
    assert told(made)["podsWithoutFixes"] == 1
    assert condition(observed, ConditionType.READY)[0] == "True"


@pytest.mark.parametrize(
    ("version", "turn", "expected", "words"),
    [
        (VERSION, True, True, "They are replaced in turn."),
        (VERSION + 7, True, True, "They are replaced in turn."),
        (VERSION, False, False, "They are replaced when fewer than 3 other pools replace theirs."),
        (0, True, False, COMMAND),
    ],
)
def test_the_users_version_replaces_older_pods_when_it_is_the_pools_turn(
    version: int, turn: bool, expected: bool, words: str
) -> None:
    observed = replace(wanting(before_versions(healthy()), version), turn=turn)
    assert rolls(observed, desired(observed.spec, PLATFORM)) is expected
    assert condition(observed, ConditionType.UPDATE_AVAILABLE)[2].endswith(words)


def test_a_version_that_every_pod_has_rolls_nothing_at_a_later_upgrade() -> None:
    observed = wanting(settled(healthy()), VERSION)
    assert not rolls(observed, desired(observed.spec, NEWER))


@pytest.mark.parametrize("text", ["", "one", "-1", "1.0", "²", "9" * 4000, 7, None])
def test_a_version_that_cannot_be_read_is_none(text: object) -> None:
    assert version_in({"pgbouncer-operator.io/template-version": text}) == 0
