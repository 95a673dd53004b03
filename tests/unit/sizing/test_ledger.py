"""Named situations of the ledger. That the budget holds in all others is proven in tests/property/test_ledger.py."""

from dataclasses import replace

from tests.unit.sizing.ledgers import NONE, NOW, caps, ended, follows, ledger, limits, silent

from pgbouncer_operator.pgbouncer.session import OUTLIVES
from pgbouncer_operator.protocol.grants import Grant
from pgbouncer_operator.sizing.ledger import PodUse, allocate, kept, relief


def test_first_pods_share_the_budget_before_they_have_said_a_word() -> None:
    found = allocate(NONE, [silent("a"), silent("b")], limits())
    assert caps(found) == {"a": 10, "b": 10}
    assert (found.grants.seq, found.grants.static, found.waiting) == (2, 6, ())


def test_a_remainder_goes_to_one_pod_and_stays_there() -> None:
    first = allocate(NONE, [silent("a"), silent("b")], limits(budget=25))
    assert caps(first) == {"a": 13, "b": 12}
    again = allocate(first.grants, [follows("b", 12, 2), follows("a", 13, 2)], limits(budget=25))
    assert again.grants is first.grants


def test_two_pods_become_four_only_as_the_two_have_given_back() -> None:
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    wider = limits(slots=4, static=4)
    shrunk = allocate(before, [follows("a", 10, 5), follows("b", 10, 5)], wider)
    assert caps(shrunk) == {"a": 5, "b": 5}
    assert shrunk.room(20) == 0, "nothing is free before they confirm"
    busy = allocate(shrunk.grants, [follows("a", 5, 6, open_now=9), follows("b", 5, 6)], wider)
    assert busy.room(20) == 5, "only b has given back"
    done = [follows("a", 5, 6), follows("b", 5, 6), silent("c"), silent("d")]
    grown = allocate(shrunk.grants, done, wider)
    assert caps(grown) == {"a": 5, "b": 5, "c": 5, "d": 5}


def test_four_pods_become_two_and_those_grow_only_when_the_others_are_gone() -> None:
    before = ledger(static=4, a=(5, 5, 5), b=(5, 5, 5), c=(5, 5, 5), d=(5, 5, 5))
    leaving = [follows("c", 5, 5, terminating=True), follows("d", 5, 5, terminating=True)]
    staying = [follows("a", 5, 5), follows("b", 5, 5)]
    assert caps(allocate(before, staying + leaving, limits())) == {"a": 5, "b": 5, "c": 5, "d": 5}
    assert caps(allocate(before, [*staying, ended("c"), ended("d")], limits())) == {"a": 10, "b": 10}


def test_a_terminating_pod_frees_what_it_says_it_gave_back_and_no_more() -> None:
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    leaving = PodUse("b", True, seq=5, cap=2, open=4)
    found = allocate(before, [follows("a", 10, 5), leaving], limits(slots=1, static=10))
    assert caps(found) == {"a": 16, "b": 4}
    assert found.charged == 20


def test_an_unlabelled_pod_falls_to_the_floor_and_others_get_what_it_confirms_to_have_given_back() -> None:
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    unlabelled = replace(follows("b", 10, 5), unlabelled=True)
    told = allocate(before, [follows("a", 10, 5), unlabelled], limits())
    assert (told.grants.pods["b"].cap, told.grants.pods["b"].gone, told.charged) == (1, NOW, 20)
    for answer in (silent("b"), follows("b", 1, 5, open_now=1), follows("b", 1, 6, open_now=2)):
        unconfirmed = allocate(told.grants, [follows("a", 5, 6), replace(answer, unlabelled=True)], limits())
        assert unconfirmed.grants.pods["b"].high == 10
    confirmed = [follows("a", 5, 6), replace(follows("b", 1, 6), unlabelled=True), silent("c")]
    assert caps(allocate(told.grants, confirmed, limits())) == {"a": 10, "b": 1, "c": 9}


def test_an_unlabelled_pod_without_a_successor_keeps_what_fits() -> None:
    before = ledger(a=(20, 5, 20))
    alone = replace(follows("a", 20, 5), unlabelled=True)
    assert caps(allocate(before, [alone], limits())) == {"a": 20}
    assert caps(allocate(before, [alone], limits(budget=12))) == {"a": 12}


def test_an_unlabelled_pod_whose_label_is_back_shares_as_before() -> None:
    before = replace(ledger(), pods={"a": Grant(10, 5, 10), "b": Grant(1, 5, 1, gone=NOW)})
    found = allocate(before, [follows("a", 10, 5), follows("b", 1, 5)], limits())
    assert (caps(found), found.grants.pods["b"].gone) == ({"a": 10, "b": 10}, 0)


def test_a_terminating_pod_that_never_saw_its_shrink_keeps_the_charge_of_before() -> None:
    before = ledger(seq=6, a=(10, 6, 10), b=(2, 6, 10))
    leaving = PodUse("b", True, seq=5, cap=2, open=2)
    found = allocate(before, [follows("a", 10, 6), leaving], limits(slots=1))
    assert caps(found)["a"] == 10


def test_a_leaving_pod_is_charged_with_what_it_keeps_although_it_never_read_the_last_ledger() -> None:
    before = ledger(a=(10, 6, 14), b=(6, 6, 10))
    leaves = replace(follows("b", 5, 5, terminating=True), keeps=5)
    found = allocate(before, [silent("a", terminating=True), leaves, PodUse("c", False, 6, 0, 0)], limits())
    assert (caps(found)["b"], found.grants.pods["b"].high) == (5, 5)
    over = replace(leaves, open=8)
    assert allocate(before, [follows("a", 10, 6), over], limits()).grants.pods["b"].high == 8, "what it has counts too"


def test_a_pod_that_hands_over_and_does_not_leave_keeps_its_charge_and_gets_its_grant_by_a_new_ledger() -> None:
    """kubelet runs the drain also before it restarts a PgBouncer that hangs, and that pod serves on."""
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    restarts = replace(follows("b", 5, 5), keeps=5)
    found = allocate(before, [follows("a", 10, 5), restarts], limits())
    assert (found.charged, found.grants.pods["b"]) == (20, Grant(5, 6, 10))
    assert allocate(found.grants, [follows("a", 10, 6), restarts], limits()).grants is found.grants
    serves = follows("b", 5, 6)
    assert allocate(found.grants, [follows("a", 10, 6), serves], limits()).grants.pods["b"] == Grant(10, 7, 10)


def test_an_unreachable_pod_keeps_its_charge_until_it_has_ended() -> None:
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    assert allocate(before, [follows("a", 10, 5), silent("b")], limits()).grants is before
    leaving = allocate(before, [follows("a", 10, 5), silent("b", terminating=True)], limits(slots=1))
    assert caps(leaving)["a"] == 10
    assert caps(allocate(before, [follows("a", 10, 5), ended("b")], limits(slots=1))) == {"a": 20}


def test_a_pod_that_is_gone_without_a_sign_of_its_end_is_charged_for_as_long_as_its_sessions_may_last() -> None:
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    missed = allocate(before, [follows("a", 10, 5)], limits(slots=1))
    assert missed.grants.pods["b"] == Grant(10, 5, 10, gone=NOW)
    assert (missed.grants.seq, missed.charged, kept(missed.grants)) == (6, 20, 10)
    assert relief(next(each for each in missed.grants.pods.values() if each.gone)) == NOW + OUTLIVES + 1
    later = allocate(missed.grants, [follows("a", 10, 6)], limits(slots=1, now=NOW + OUTLIVES))
    assert later.grants is missed.grants
    over = allocate(missed.grants, [follows("a", 10, 6)], limits(slots=1, now=NOW + OUTLIVES + 1))
    assert caps(over) == {"a": 20}
    assert kept(over.grants) == 0


def test_the_successor_of_a_lost_pod_starts_on_what_the_others_give_back_before_its_sessions_are_over() -> None:
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    shrunk = allocate(before, [follows("a", 10, 5), silent("c")], limits())
    assert caps(shrunk) == {"a": 5, "b": 10, "c": 0}
    told = PodUse("c", False, 6, 0, 0)
    served = allocate(shrunk.grants, [follows("a", 5, 6), told], limits(now=NOW + 1))
    assert caps(served) == {"a": 5, "b": 10, "c": 5}
    assert served.charged == 20
    grown = allocate(served.grants, [follows("a", 5, 7), follows("c", 5, 7)], limits(now=NOW + OUTLIVES + 1))
    assert caps(grown) == {"a": 10, "c": 10}


def test_what_pods_took_while_nobody_looked_is_not_taken_from_them_for_pods_that_may_long_have_ended() -> None:
    before = ledger(seq=5, static=6, old=(10, 5, 10), older=(10, 5, 10))
    helped = [PodUse(uid, False, 5, 6, 6) for uid in ("a", "b")]
    found = allocate(before, helped, limits())
    assert {uid: cap for uid, cap in caps(found).items() if uid in {"a", "b"}} == {"a": 6, "b": 6}
    again = [follows(uid, 6, found.grants.seq) for uid in ("a", "b")]
    assert caps(allocate(found.grants, again, limits(now=NOW + OUTLIVES + 1))) == {"a": 10, "b": 10}


def test_a_successor_waits_for_the_sessions_of_lost_pods_where_these_may_be_all_there_are() -> None:
    before = ledger(a=(20, 5, 20))
    waits = allocate(before, [silent("c")], limits(slots=1))
    assert (caps(waits), waits.waiting, waits.grants.static) == ({"a": 20, "c": 0}, ("c",), 0)
    told = PodUse("c", False, waits.grants.seq, 0, 0)
    assert caps(allocate(waits.grants, [told], limits(slots=1, now=NOW + OUTLIVES + 1))) == {"c": 20}


def test_a_pod_that_is_lost_before_it_was_served_is_offered_no_static_share() -> None:
    before = ledger(seq=6, static=0, a=(14, 5, 14), c=(0, 6, 6))
    found = allocate(before, [follows("a", 14, 6)], limits(slots=1))
    assert (found.grants.static, found.charged) == (0, 20)
    over = allocate(found.grants, [follows("a", 14, 7)], limits(slots=1, now=NOW + OUTLIVES + 1))
    assert (over.grants.static, caps(over)) == (6, {"a": 20})


def test_a_tombstone_of_a_time_to_come_ends_by_our_own_clock() -> None:
    before = replace(NONE, seq=5, pods={"b": Grant(10, 5, 10, gone=NOW + 10**9)})
    assert allocate(before, [], limits()).grants.pods["b"].gone == NOW


def test_a_pod_that_is_seen_again_has_no_tombstone() -> None:
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    missed = allocate(before, [follows("a", 10, 5)], limits(slots=1))
    found = allocate(missed.grants, [follows("a", 10, 6), follows("b", 10, 5)], limits(now=NOW + 1))
    assert kept(found.grants) == 0
    assert caps(found) == {"a": 10, "b": 10}


def test_a_pod_that_has_ended_while_it_was_looked_at_is_not_charged_by_what_it_said_before() -> None:
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    found = allocate(before, [follows("a", 10, 5), follows("b", 10, 5, terminating=True), ended("b")], limits(slots=1))
    assert caps(found) == {"a": 20}


def test_a_newborn_waits_while_others_hold_everything_and_may_not_help_itself_meanwhile() -> None:
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    draining = follows("b", 10, 5, terminating=True)
    found = allocate(before, [follows("a", 10, 5, open_now=10), draining, silent("c")], limits(static=6))
    assert (found.waiting, found.grants.static) == (("c",), 0)
    assert caps(found) == {"a": 5, "b": 10, "c": 0}, "a gives half of what is left"
    assert found.charged == 26, "c is charged with what it may have taken unasked"


def test_while_a_pod_waits_in_vain_the_ledger_offers_no_static_share() -> None:
    before = ledger(static=2, a=(2, 5, 2), b=(2, 5, 2))
    tight = limits(budget=4, floor=2, static=2)
    draining = follows("b", 2, 5, terminating=True)
    waiting = allocate(before, [follows("a", 2, 5), draining, silent("c")], tight)
    assert waiting.waiting == ("c",)
    assert waiting.grants.static == 0
    served = allocate(waiting.grants, [follows("a", 2, 6), PodUse("c", False, 0, 0, 0), ended("b")], tight)
    assert caps(served) == {"a": 2, "c": 2}
    assert served.grants.static == 2


def test_what_a_pod_took_unasked_is_remembered_when_it_falls_silent() -> None:
    before = ledger(seq=9, static=8, a=(8, 9, 8))
    helped = PodUse("c", True, seq=9, cap=8, open=3)
    found = allocate(before, [follows("a", 8, 9), helped], limits(slots=1, static=2))
    assert found.grants.pods["c"] == Grant(cap=8, seq=10, high=8)
    later = allocate(found.grants, [follows("a", 12, 10), silent("c", terminating=True)], limits(slots=1, static=2))
    assert later.charged == 20


def test_a_lower_budget_shrinks_everybody_and_grows_nobody() -> None:
    before = ledger(a=(13, 5, 13), b=(12, 5, 12))
    found = allocate(before, [follows("a", 13, 5), follows("b", 12, 5)], limits(budget=10, static=3))
    assert caps(found) == {"a": 5, "b": 5}
    assert [grant.high for grant in found.grants.pods.values()] == [13, 12]
    assert allocate(found.grants, [follows("a", 5, 6), follows("b", 5, 6)], limits(budget=10, static=3)).charged == 10


def test_a_higher_budget_grows_everybody_at_once() -> None:
    before = ledger(a=(5, 5, 5), b=(5, 5, 5))
    assert caps(allocate(before, [follows("a", 5, 5), silent("b")], limits(budget=40))) == {"a": 20, "b": 20}


def test_room_for_surge_is_kept_before_the_pod_exists() -> None:
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    rolling = limits(slots=3)
    shrunk = allocate(before, [follows("a", 10, 5), follows("b", 10, 5)], rolling)
    assert caps(shrunk) == {"a": 7, "b": 7}
    assert allocate(shrunk.grants, [follows("a", 7, 6), follows("b", 7, 6)], rolling).room(20) == 6


def test_pods_beyond_what_fits_fall_to_the_floor_never_to_zero() -> None:
    before = ledger(a=(2, 5, 2), b=(2, 5, 2), c=(2, 5, 2))
    found = allocate(before, [follows(uid, 2, 5) for uid in "abc"], limits(budget=4, floor=2, static=2))
    assert set(caps(found).values()) == {2}


def test_a_ledger_made_anew_goes_on_above_the_sequence_that_pods_have_seen() -> None:
    before = ledger(seq=3, a=(20, 3, 20))
    found = allocate(before, [follows("a", 20, seq=9)], limits(slots=1))
    assert found.grants.seq == 10


def test_at_rest_the_very_same_ledger_comes_back() -> None:
    before = ledger(a=(10, 5, 10), b=(10, 5, 10))
    assert allocate(before, [follows("a", 10, 5), follows("b", 10, 5)], limits()).grants is before
