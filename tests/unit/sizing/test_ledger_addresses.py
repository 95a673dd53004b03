"""Addresses of pods in the ledger, which their peers' cancel requests need."""

from dataclasses import replace

from tests.unit.sizing.ledgers import NONE, caps, ended, follows, ledger, limits, silent

from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.sizing.ledger import PodUse, Round, allocate


def at(use: PodUse, address: str, serves: bool = True) -> PodUse:
    return replace(use, address=address, serves=serves)


def no_address_yet(use: PodUse) -> PodUse:
    return replace(use, expected=True)


def knowing(**peers: str) -> Grants:
    return replace(ledger(a=(10, 5, 10), b=(10, 5, 10)), peers=peers, peers_seq=5)


def test_an_address_is_told_with_a_higher_sequence_and_no_grant_moves() -> None:
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    found = allocate(before, [at(follows("a", 10, 5), "1"), at(follows("b", 10, 5), "2")], limits()).grants
    assert (found.seq, found.peers, found.peers_seq) == (6, {"a": "1", "b": "2"}, 6)
    assert found.pods == before.pods
    again = allocate(found, [at(follows("a", 10, 6), "1"), at(follows("b", 10, 6), "2")], limits())
    assert again.grants is found


def test_pods_that_start_together_are_told_of_together() -> None:
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    one = [at(silent("a"), "1", serves=False), no_address_yet(silent("b"))]
    assert allocate(before, one, limits()).grants is before
    both = [at(silent("a"), "1", serves=False), at(silent("b"), "2", serves=False)]
    assert allocate(before, both, limits()).grants.peers == {"a": "1", "b": "2"}


def test_a_pod_in_use_waits_for_no_other_that_never_gets_an_address() -> None:
    before = knowing(a="1")
    pods = [at(follows("a", 10, 5), "1"), at(follows("b", 10, 5), "2"), no_address_yet(silent("c"))]
    assert allocate(before, pods[:2], limits()).grants.peers == {"a": "1", "b": "2"}
    assert allocate(before, pods, limits()).grants.peers == {"a": "1", "b": "2"}


def test_a_pod_alone_needs_no_write_for_its_address() -> None:
    before = ledger(a=(20, 5, 20))
    assert allocate(before, [at(follows("a", 20, 5), "1")], limits(slots=1)).grants is before


def test_a_pod_that_drains_stays_known_until_it_is_gone() -> None:
    pods = [at(follows("a", 10, 5), "1"), at(follows("b", 10, 5, terminating=True), "2")]
    assert allocate(knowing(a="1", b="2"), pods, limits()).grants.peers == {"a": "1", "b": "2"}
    assert allocate(knowing(a="1", b="2"), [pods[0], ended("b")], limits(slots=1)).grants.peers == {"a": "1"}
    assert allocate(knowing(a="1", b="2"), pods[:1], limits(slots=1)).grants.peers == {"a": "1"}


def test_an_address_that_comes_while_something_else_is_written_goes_along() -> None:
    pods = [at(silent("a"), "1", serves=False), no_address_yet(silent("b")), silent("c", terminating=True)]
    assert allocate(NONE, pods, limits()).grants.peers == {"a": "1"}


def test_only_what_concerns_a_pod_is_news_to_it() -> None:
    before = knowing(a="1", b="2")
    pods = [at(follows("a", 10, 5), "1"), at(follows("b", 10, 5, open_now=3, terminating=True), "2")]
    pods[1] = replace(pods[1], cap=3)
    drained = allocate(before, pods, limits(slots=1)).grants
    assert caps(Round(drained, 0, ())) == {"a": 17, "b": 3}
    assert (drained.concerning("a"), drained.concerning("b")) == (6, 5)
    waits = replace(drained, pods={**drained.pods, "c": Grant(0, 2, 6)})
    assert waits.concerning("c") == waits.concerning("unknown") == 6


def test_a_pod_that_refused_the_ledger_as_too_old_is_told_again_what_it_may() -> None:
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    found = allocate(before, [follows("a", 10, seq=9), follows("b", 10, 5)], limits()).grants
    assert (found.seq, found.concerning("a"), found.concerning("b")) == (10, 10, 5)
