"""When a pod is told, and told again."""

from dataclasses import replace

import pytest
from tests.unit.reconcile.looks import SEQ, decide, healthy, pod, saying, settled, wanted

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.reconcile.memory import SecretsRead
from pgbouncer_operator.reconcile.observed import Credentials, Observed
from pgbouncer_operator.reconcile.rollout.delivery import FOLLOW_SECONDS, TROUBLED_FOLLOW_SECONDS, pokes, told_seq

DIGEST = wanted().intent.digest


def grants(seq: int = SEQ, **words: int) -> Grants:
    """A ledger of that sequence; words: the sequence at which a pod's cap was set, at last for each pod not named."""
    return Grants(seq, 6, {uid: Grant(10, words.get(uid, seq), 10) for uid in ("a", "b")})


def values(observed: Observed, digest: str = DIGEST, ledger: Grants | None = None) -> dict[str, str]:
    steps, _ = pokes(observed, dict.fromkeys(("a", "b"), digest), ledger or grants())
    return {
        step.body["metadata"]["uid"]: step.body["metadata"]["annotations"][naming.ANNOTATION_POKE] for step in steps
    }


def test_pods_that_follow_are_left_alone() -> None:
    assert values(healthy()) == {}


def test_a_new_configuration_and_a_new_ledger_are_told_to_every_living_pod() -> None:
    assert values(healthy(), digest="another") == {"a": "5--0", "b": "5--0"}
    assert values(healthy(), ledger=grants(6)) == {"a": "6--0", "b": "6--0"}


def test_a_ledger_that_says_nothing_new_of_a_pod_does_not_disturb_it() -> None:
    assert values(healthy(), ledger=grants(8, a=7, b=SEQ)) == {"a": "8--0"}
    assert values(healthy(), ledger=replace(grants(8, a=7, b=SEQ), peers_seq=8)) == {"a": "8--0", "b": "8--0"}


def test_a_pod_that_waits_for_a_grant_is_told_of_every_ledger() -> None:
    waiting = replace(grants(8, a=SEQ), pods={"a": Grant(10, SEQ, 10), "b": Grant(0, SEQ, 6)})
    assert values(healthy(), ledger=waiting) == {"b": "8--0"}


def test_a_pod_that_was_told_of_a_later_ledger_than_there_is_is_told_of_the_present_one() -> None:
    assert values(healthy(), ledger=grants(4)) == {"a": "4--0", "b": "4--0"}


def test_the_poke_names_what_to_run_and_touches_the_status_subresource_only() -> None:
    (step, _), _ = pokes(healthy(), dict.fromkeys(("a", "b"), "another"), grants(7))
    assert step.subresource == "status"
    assert step.body["metadata"]["annotations"][naming.ANNOTATION_CONFIG] == "another"
    assert set(step.body) == {"apiVersion", "kind", "metadata"}


def test_changed_credentials_poke_once() -> None:
    observed = replace(healthy(), credentials=Credentials({}, "v2"))
    assert values(observed) == {"a": "5-v2-0", "b": "5-v2-0"}
    told = replace(observed, pods=tuple(replace(each, poke="5-v2-0") for each in observed.pods))
    assert values(told) == {}
    assert values(replace(told, credentials=None)) == {}, "what was not read is not news"


def test_a_new_refresh_annotation_pokes_once_and_its_removal_does_not() -> None:
    observed = healthy()
    asked = replace(observed, view=replace(observed.view, refresh="2026-11-21 - now"))
    told = values(asked)
    assert set(told) == {"a", "b"}
    assert told["a"].startswith(f"{SEQ}-.r")
    obeyed = replace(asked, pods=tuple(replace(each, poke=told["a"]) for each in observed.pods))
    assert values(obeyed) == {}
    assert values(replace(obeyed, view=observed.view)) == {}
    again = values(replace(obeyed, view=replace(observed.view, refresh="2")))
    assert again["a"] not in {told["a"], f"{SEQ}--0"}
    assert values(replace(asked, credentials=Credentials({}, "v2")))["a"].startswith(f"{SEQ}-v2.r")


def test_a_pod_that_was_given_the_old_content_of_a_secret_is_told_again() -> None:
    observed = healthy()
    generation = observed.states["a"].users["shop"].generation  # type: ignore[union-attr]
    reading = SecretsRead(990.0, "", None, {}, owed={("a", "shop"): generation})
    assert set(values(observed.remember(reading=reading))) == {"a"}
    assert not decide(settled(observed.remember(reading=reading))).at_rest
    brought = replace(reading, owed={("a", "shop"): "another"})
    assert values(observed.remember(reading=brought)) == {}


def test_terminating_pods_are_told_nothing() -> None:
    observed = healthy()
    observed = replace(observed, pods=tuple(replace(each, terminating=True) for each in observed.pods))
    assert values(observed, ledger=grants(6)) == {}


@pytest.mark.parametrize(
    ("problems", "patience"),
    [
        ((), FOLLOW_SECONDS),
        (({"reason": "HalfDelivered", "message": "the old ConfigMap came with the new annotation"},), FOLLOW_SECONDS),
        (({"reason": "CandidateRefused", "message": "line 3"},), TROUBLED_FOLLOW_SECONDS),
    ],
)
def test_a_pod_that_does_not_follow_is_told_again_after_patience_with_another_value(
    problems: tuple[dict[str, str], ...], patience: float
) -> None:
    observed = saying(healthy(), "a", seq=4, problems=list(problems)).remember(poked={"a": (f"{SEQ}--0", 1000.0)})
    assert values(replace(observed, now=1000.0 + patience - 0.01)) == {}
    assert values(replace(observed, now=1000.0 + patience)) == {"a": "5--1"}


def test_patience_doubles_with_every_attempt() -> None:
    observed = saying(healthy(), "a", seq=4).remember(poked={"a": ("5--2", 1000.0)})
    observed = replace(observed, pods=(replace(observed.pods[0], poke="5--2"), observed.pods[1]))
    assert values(replace(observed, now=1000.0 + 4 * FOLLOW_SECONDS - 0.01)) == {}
    assert values(replace(observed, now=1000.0 + 4 * FOLLOW_SECONDS)) == {"a": "5--3"}


@pytest.mark.parametrize(("poke", "seq"), [("12-ab-0", 12), ("12--3", 12), ("", 0), ("x-1-2", 0), ("12", 0)])
def test_what_a_pod_was_told_is_read_back(poke: str, seq: int) -> None:
    assert told_seq(replace(pod("a", DIGEST), poke=poke)) == seq
