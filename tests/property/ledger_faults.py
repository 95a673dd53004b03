"""Faults to plant around the ledger, each with the smallest walk that meets it: see ledger_space."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.property import ledger_mutants
from tests.property.ledger_space import CROSSED, HONEST, IDLE, SILENT, Size

from pgbouncer_operator.agent import grant
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.budget import ledger as ledger_reader
from pgbouncer_operator.sizing import fit, ledger

TWO = Size(pods=2, budgets=(4,), replicas=1)
NOBODY = Size(pods=3, budgets=(4,), replicas=2, words=())
FLOORS = Size(pods=2, budgets=(5,), replicas=1, databases=2)
IDLERS = Size(pods=2, budgets=(4,), replicas=1, words=(SILENT, HONEST, IDLE))
STRANGERS = Size(pods=2, budgets=(4,), replicas=1, words=(SILENT, HONEST, CROSSED))
HASTY = Size(pods=2, budgets=(4,), replicas=1, hasty=True)
CACHES = Size(pods=2, budgets=(4,), replicas=1, back=True)
LOSSES = Size(pods=2, budgets=(4,), replicas=1, loss=True)
FORCE = Size(pods=2, budgets=(4,), replicas=1, force=True)
LABELS = Size(pods=2, budgets=(4,), replicas=1, unlabel=True)
CHANGES = Size(pods=2, budgets=(4, 2, 5), replicas=1)


@dataclass(frozen=True)
class Fault:
    """plant: puts it into the code. size: the walk that meets it."""

    plant: Callable[[pytest.MonkeyPatch], None]
    size: Size = TWO


def allocation(mutant: ledger_mutants.Plant, size: Size = TWO) -> Fault:
    """A fault of the allocation that the random schedules must notice too."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        faulty = mutant(patch)
        patch.setattr(ledger, "allocate", faulty)

    return Fault(plant, size)


def accept_a_lower_sequence(patch: pytest.MonkeyPatch) -> None:
    honest = grant.accept
    patch.setattr(grant, "accept", lambda mounts, seen, *rest: honest(mounts, replace(seen, seq=0), *rest))


def confirm_by_address_without_the_uid(patch: pytest.MonkeyPatch) -> None:
    honest = AgentState.from_json
    patch.setattr(AgentState, "from_json", lambda text, uid: honest(text, json.loads(text)["uid"]))


def believe_an_idle_pod_that_it_holds_nothing(patch: pytest.MonkeyPatch) -> None:
    honest = ledger._confirmed

    def faulty(known: Any, pod: Any) -> Any:
        return honest(known, pod if pod.open is None or not pod.terminating else replace(pod, cap=pod.open))

    patch.setattr(ledger, "_confirmed", faulty)


def drop_the_surge(patch: pytest.MonkeyPatch) -> None:
    honest = fit.fit

    def faulty(demand: fit.FitRequest) -> fit.Fit:
        return replace(honest(demand), static=demand.size // demand.replicas)

    patch.setattr(fit, "fit", faulty)


def round_the_static_share_up(patch: pytest.MonkeyPatch) -> None:
    honest = fit.fit

    def faulty(demand: fit.FitRequest) -> fit.Fit:
        found = honest(demand)
        return replace(found, static=-(-demand.size // (found.replicas + found.surge)))

    patch.setattr(fit, "fit", faulty)


def offer_the_static_share_while_somebody_waits_in_vain(patch: pytest.MonkeyPatch) -> None:
    honest = ledger.allocate

    def faulty(grants: Any, pods: Any, limits: Any) -> Any:
        decided = honest(grants, pods, limits)
        offering = replace(decided.grants, static=limits.static)
        return decided if decided.grants is grants else replace(decided, grants=offering)

    patch.setattr(ledger, "allocate", faulty)


def take_a_deleted_ledger_for_an_empty_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger_reader, "ledger", lambda *_: None)


def take_a_silent_pod_for_an_idle_one_when_the_ledger_is_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger_reader, "MOST", 1)


def drop_a_tombstone_with_the_next_write(patch: pytest.MonkeyPatch) -> None:
    honest = ledger._lost

    def faulty(grants: Any, pods: Any, limits: Any) -> Any:
        return [each for each in honest(grants, pods, limits) if not grants.pods[each.uid].gone]

    patch.setattr(ledger, "_lost", faulty)


def take_an_unlabelled_pod_for_one_that_is_gone(patch: pytest.MonkeyPatch) -> None:
    honest = ledger._lost
    patch.setattr(ledger, "_lost", lambda *now: [each for each in honest(*now) if not each.unlabelled])


def write_without_resource_version(patch: pytest.MonkeyPatch) -> None:
    """Nothing is planted: the walk lets a late write through."""


FAULTS = {
    "grow before the shrink is confirmed": allocation(ledger_mutants.grow_before_the_shrink_is_confirmed),
    "ignore terminating pods": allocation(ledger_mutants.ignore_terminating_pods),
    "forget newborns": allocation(ledger_mutants.forget_pods_without_a_grant),
    "give less than the floor": allocation(ledger_mutants.give_less_than_the_floor, FLOORS),
    "confirm without the sequence": allocation(ledger_mutants.confirm_without_the_sequence),
    "confirm by the cap alone": allocation(ledger_mutants.confirm_by_the_cap_alone, HASTY),
    "lose a pod on a failed read": allocation(ledger_mutants.lose_pods_that_do_not_answer),
    "round up": allocation(ledger_mutants.round_up),
    "write without a higher sequence": allocation(ledger_mutants.write_without_a_higher_sequence),
    "accept a lower sequence": Fault(accept_a_lower_sequence, CACHES),
    "confirm by address without the uid": Fault(confirm_by_address_without_the_uid, STRANGERS),
    "write without resourceVersion": Fault(write_without_resource_version, replace(TWO, blind=True)),
    "believe an idle pod that it holds nothing": Fault(believe_an_idle_pod_that_it_holds_nothing, IDLERS),
    "drop the surge": Fault(drop_the_surge, NOBODY),
    "round the static share up": Fault(round_the_static_share_up, NOBODY),
    "offer the static share while somebody waits": Fault(offer_the_static_share_while_somebody_waits_in_vain, CHANGES),
    "drop a pod with its object": allocation(ledger_mutants.drop_pods_whose_objects_are_gone, FORCE),
    "drop a tombstone with the next write": Fault(drop_a_tombstone_with_the_next_write, FORCE),
    "take a pod without its label for one that is gone": Fault(take_an_unlabelled_pod_for_one_that_is_gone, LABELS),
    "give away what an unlabelled pod has not given back": allocation(
        ledger_mutants.give_away_what_an_unlabelled_pod_has_not_given_back, LABELS
    ),
    "confirm by an unlabelled pod's address without the uid": Fault(
        confirm_by_address_without_the_uid, replace(LABELS, words=(SILENT, HONEST, CROSSED))
    ),
    "take a deleted ledger for an empty one": Fault(take_a_deleted_ledger_for_an_empty_one, LOSSES),
    "take a silent pod for an idle one": Fault(take_a_silent_pod_for_an_idle_one_when_the_ledger_is_lost, LOSSES),
}
