"""Allocations with one fault each, to prove that the model would notice."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pgbouncer_operator.pgbouncer.session import OUTLIVES
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.sizing import ledger
from pgbouncer_operator.sizing.ledger import LedgerTerms, PodUse, Round, allocate

Allocate = Callable[[Grants, Sequence[PodUse], LedgerTerms], Round]
Plant = Callable[[pytest.MonkeyPatch], Allocate]


def grow_before_the_shrink_is_confirmed(patch: pytest.MonkeyPatch) -> Allocate:
    patch.setattr(ledger, "_charge", lambda grant: grant.cap)
    return allocate


def ignore_terminating_pods(patch: pytest.MonkeyPatch) -> Allocate:
    return lambda grants, pods, limits: allocate(grants, [each for each in pods if not each.terminating], limits)


def forget_pods_without_a_grant(patch: pytest.MonkeyPatch) -> Allocate:
    honest = ledger._standing

    def faulty(grants: Grants, pod: PodUse, static: int) -> Grant:
        known = pod.uid in grants.pods and grants.pods[pod.uid].cap
        return honest(grants, pod, static) if known else Grant(cap=0, seq=grants.seq + 1, high=0)

    patch.setattr(ledger, "_standing", faulty)
    return allocate


def give_less_than_the_floor(patch: pytest.MonkeyPatch) -> Allocate:
    def faulty(grants: Grants, pods: Sequence[PodUse], limits: LedgerTerms) -> Round:
        return allocate(grants, pods, replace(limits, floor=1))

    return faulty


def confirm_without_the_sequence(patch: pytest.MonkeyPatch) -> Allocate:
    honest = ledger._confirmed

    def faulty(grant: Grant, pod: PodUse) -> Grant:
        return honest(grant, pod if pod.seq is None else replace(pod, seq=grant.seq))

    patch.setattr(ledger, "_confirmed", faulty)
    return allocate


def confirm_by_the_cap_alone(patch: pytest.MonkeyPatch) -> Allocate:
    honest = ledger._confirmed

    def faulty(grant: Grant, pod: PodUse) -> Grant:
        return honest(grant, pod if pod.open is None else replace(pod, open=0))

    patch.setattr(ledger, "_confirmed", faulty)
    return allocate


def believe_what_a_pod_hands_over_that_stays(patch: pytest.MonkeyPatch) -> Allocate:
    honest = ledger._confirmed

    def faulty(grant: Grant, pod: PodUse) -> Grant:
        return honest(grant, replace(pod, terminating=pod.terminating or pod.keeps is not None))

    patch.setattr(ledger, "_confirmed", faulty)
    return allocate


def believe_a_leaving_pod_before_it_has_handed_over(patch: pytest.MonkeyPatch) -> Allocate:
    honest = ledger._confirmed

    def faulty(grant: Grant, pod: PodUse) -> Grant:
        return honest(grant, replace(pod, keeps=pod.cap))

    patch.setattr(ledger, "_confirmed", faulty)
    return allocate


def lose_pods_that_do_not_answer(patch: pytest.MonkeyPatch) -> Allocate:
    return lambda grants, pods, limits: allocate(grants, [each for each in pods if each.seq is not None], limits)


def drop_pods_whose_objects_are_gone(patch: pytest.MonkeyPatch) -> Allocate:
    patch.setattr(ledger, "_lost", lambda *_: [])
    return allocate


def forget_tombstones_too_early(patch: pytest.MonkeyPatch) -> Allocate:
    return lambda grants, pods, limits: allocate(grants, pods, replace(limits, outlives=OUTLIVES - 10))


def round_up(patch: pytest.MonkeyPatch) -> Allocate:
    honest = ledger._targets

    def faulty(*arguments: Any) -> dict[str, int]:
        return {uid: share + 1 for uid, share in honest(*arguments).items()}

    patch.setattr(ledger, "_targets", faulty)
    return lambda grants, pods, limits: allocate(grants, pods, replace(limits, size=limits.size + len(pods)))


def write_without_a_higher_sequence(patch: pytest.MonkeyPatch) -> Allocate:
    def faulty(grants: Grants, pods: Sequence[PodUse], limits: LedgerTerms) -> Round:
        decided = allocate(grants, pods, limits)
        changed = decided.grants is not grants
        return replace(decided, grants=replace(decided.grants, seq=grants.seq)) if changed else decided

    return faulty


def take_unlabelled_pods_for_tombstones(patch: pytest.MonkeyPatch) -> Allocate:
    return lambda grants, pods, limits: allocate(grants, [each for each in pods if not each.unlabelled], limits)


def give_away_what_an_unlabelled_pod_has_not_given_back(patch: pytest.MonkeyPatch) -> Allocate:
    honest = ledger._standing

    def faulty(grants: Grants, pod: PodUse, static: int) -> Grant:
        found = honest(grants, pod, static)
        return replace(found, high=found.cap) if pod.unlabelled else found

    patch.setattr(ledger, "_standing", faulty)
    return allocate


MUTANTS: tuple[Plant, ...] = (
    grow_before_the_shrink_is_confirmed,
    ignore_terminating_pods,
    forget_pods_without_a_grant,
    give_less_than_the_floor,
    confirm_without_the_sequence,
    confirm_by_the_cap_alone,
    believe_what_a_pod_hands_over_that_stays,
    believe_a_leaving_pod_before_it_has_handed_over,
    lose_pods_that_do_not_answer,
    drop_pods_whose_objects_are_gone,
    forget_tombstones_too_early,
    take_unlabelled_pods_for_tombstones,
    give_away_what_an_unlabelled_pod_has_not_given_back,
    round_up,
    write_without_a_higher_sequence,
)
