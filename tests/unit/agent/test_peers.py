"""Who a pod forwards cancels to."""

from dataclasses import replace

import pytest

from pgbouncer_operator.agent import candidate, share_steps
from pgbouncer_operator.agent.candidate import Candidate, CandidateInputs, Identity
from pgbouncer_operator.agent.grant import AcceptedGrant
from pgbouncer_operator.agent.mounts import Mounts
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.pgbouncer.ini import Peer
from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent, ServerTls
from pgbouncer_operator.protocol.reasons import ReloadKind

INTENT = Intent("ns/shop", {}, (DatabaseIntent("shop", "postgres"),), (), ServerTls("disable"))


def made(**peers: str) -> Candidate:
    mounts = Mounts(intent=INTENT, grants=Grants(1, 0, {}, peers, 1), uid="a")
    return candidate.candidate(
        mounts, AcceptedGrant(1, 5, 1), CandidateInputs(Identity("probe_1", b"key"), AgentSettings())
    )


def test_every_pod_with_an_address_is_a_peer_this_one_too() -> None:
    found = made(a="10.0.0.1", b="fd00::2").composition
    assert set(found.peers) == {Peer(candidate.peer_id("a"), "10.0.0.1"), Peer(candidate.peer_id("b"), "fd00::2")}
    assert found.peer_id in {each.id for each in found.peers}


def test_a_ledger_without_peers_and_no_ledger_name_none() -> None:
    assert made().composition.peers == ()
    mounts = Mounts(intent=INTENT, uid="a")
    fresh = CandidateInputs(Identity("probe_1", b"key"), AgentSettings())
    assert candidate.candidate(mounts, AcceptedGrant(1, 5, 1), fresh).composition.peers == ()


@pytest.mark.parametrize("smaller_first", [True, False])
def test_of_two_pods_with_one_number_the_smaller_uid_is_reachable(smaller_first: bool) -> None:
    smaller, larger = sorted(twins())
    order = (smaller, larger) if smaller_first else (larger, smaller)
    addresses = {smaller: "10.0.0.1", larger: "10.0.0.2"}
    found = made(**{uid: addresses[uid] for uid in order}).composition.peers
    assert found == (Peer(candidate.peer_id(smaller), "10.0.0.1"),)


def twins() -> tuple[str, str]:
    """Two uids that share a number; among a few hundred there always are some."""
    known: dict[int, str] = {}
    for uid in (f"uid{number}" for number in range(16384)):
        if (other := known.setdefault(candidate.peer_id(uid), uid)) != uid:
            return other, uid
    raise AssertionError("more uids than numbers, and no two alike")


def test_new_peers_are_a_configuration_of_their_own_and_renew_no_connection() -> None:
    before, after = made(a="10.0.0.1"), made(a="10.0.0.1", b="10.0.0.2")
    assert before.marker != after.marker
    assert share_steps.kind(before, after) is share_steps.kind(after, before) is ReloadKind.RELOAD


def test_peers_do_not_follow_the_order_of_the_ledger() -> None:
    assert made(a="10.0.0.1", b="10.0.0.2").files() == made(b="10.0.0.2", a="10.0.0.1").files()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="is neither a DNS name nor an IP address"):
        made(a="10.0.0.1' port='1")


def test_a_new_grant_keeps_the_peers() -> None:
    running = made(a="10.0.0.1")
    assert candidate.regranted(running, AcceptedGrant(2, 3, 2)).composition.peers == running.composition.peers
    assert candidate.regranted(replace(running), AcceptedGrant(2, 3, 2)).shares == {"shop": 3}
