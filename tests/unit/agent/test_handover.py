"""What a leaving pod hands over at once, and what it gives back as its clients leave."""

import pytest

from pgbouncer_operator.agent import handover
from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.agent.handover import Handover
from pgbouncer_operator.pgbouncer.ini import Composition
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent


def running(mode: str = "transaction", cap: int = 0, **shares: int) -> Candidate:
    databases = tuple(DatabaseIntent(name, "pg") for name in shares)
    composition = Composition(Intent("web/shop", {"pool_mode": mode}, databases, ()), shares, 1, (), "", "probe")
    return Candidate(composition, 1, cap or sum(shares.values()))


def kept(candidate: Candidate, clients: dict[str, int], newcomers: bool = True) -> dict[str, int]:
    return dict(handover.following(handover.begin(candidate), candidate, clients, newcomers).shares)


@pytest.mark.parametrize(("share", "half"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (10, 5)])
def test_half_is_handed_over_at_once_however_many_clients_there_are(share: int, half: int) -> None:
    for clients in (0, share, 50):
        assert kept(running(shop=share), {"shop": clients}) == {"shop": half}


@pytest.mark.parametrize(
    ("clients", "expected"),
    [
        ({"shop": 50, "blog": 50}, (4, 5)),
        ({"shop": 9, "blog": 1}, (4, 1)),
        ({"shop": 3, "blog": 0}, (3, 1)),
        ({"shop": 0, "blog": 0}, (1, 1)),
        ({"shop": 2}, (2, 5)),
    ],
)
def test_when_nobody_comes_any_more_each_database_keeps_what_its_clients_can_use(
    clients: dict[str, int], expected: tuple[int, int]
) -> None:
    found = kept(running(shop=8, blog=10), clients, newcomers=False)
    assert (found["shop"], found["blog"]) == expected


def test_no_share_ever_rises_again() -> None:
    pod = running(shop=8)
    half = handover.following(handover.begin(pod), pod, {"shop": 8}, newcomers=True)
    few = handover.following(half, pod, {"shop": 2}, newcomers=False)
    assert few.shares == {"shop": 2}
    assert handover.following(few, pod, {"shop": 9}, newcomers=False).shares == {"shop": 2}
    assert handover.following(few, pod, {"shop": 9}, newcomers=True).shares == {"shop": 2}


@pytest.mark.parametrize(("sessions", "expected"), [(0, 4), (3, 4), (4, 5), (6, 7), (8, 8), (20, 8)])
def test_in_session_mode_a_database_keeps_what_its_sessions_hold_and_one_for_newcomers(
    sessions: int, expected: int
) -> None:
    assert kept(running("session", shop=8), {"shop": sessions}) == {"shop": expected}


@pytest.mark.parametrize(("sessions", "expected"), [(0, 1), (3, 3), (6, 6), (20, 8)])
def test_in_session_mode_nothing_stays_free_when_nobody_comes_any_more(sessions: int, expected: int) -> None:
    assert kept(running("session", shop=8), {"shop": sessions}, newcomers=False) == {"shop": expected}


def test_in_session_mode_the_pod_goes_on_handing_over_until_half_is_left() -> None:
    pod = running("session", shop=8)
    found = handover.begin(pod)
    for sessions, expected in ((8, 8), (6, 7), (8, 7), (4, 5), (3, 4), (1, 4)):
        found = handover.following(found, pod, {"shop": sessions}, newcomers=True)
        assert found.shares == {"shop": expected}


def test_a_candidate_gets_no_more_than_the_pod_keeps() -> None:
    keeps = Handover({"shop": 2, "blog": 1}, {})
    found = handover.bounded(running(cap=20, shop=8, blog=8), keeps)
    assert found is not None
    assert (found.shares, found.cap) == ({"shop": 2, "blog": 1}, 3)
    assert handover.bounded(found, keeps) is found


def test_what_the_databases_cannot_use_is_handed_over_too() -> None:
    found = handover.bounded(running(cap=15, shop=4), Handover({"shop": 5}, {}))
    assert found is not None
    assert found.cap == 4


def test_a_configuration_with_a_database_that_the_pod_did_not_serve_leaves_pgbouncer_as_it_is() -> None:
    assert handover.bounded(running(shop=1, new=1), Handover({"shop": 2}, {})) is None
