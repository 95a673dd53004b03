"""Which cap a pod may act on."""

import pytest

from pgbouncer_operator.agent.grant import AcceptedGrant, accept
from pgbouncer_operator.agent.mounts import Mounts
from pgbouncer_operator.protocol.grants import Grant, Grants

OURS = "uid-1"


def ledger(seq: int, cap: int | None = None, static: int = 0, since: int | None = None) -> Mounts:
    pods = {"uid-2": Grant(9, seq, 9)} | ({} if cap is None else {OURS: Grant(cap, since or seq, cap)})
    return Mounts(grants=Grants(seq, static, pods), uid=OURS)


HELD = AcceptedGrant(4, 5, 4)
CASES = [
    ("an entry is obeyed", ledger(4, cap=5), AcceptedGrant(), 0.0, HELD, ""),
    ("a newer entry is obeyed", ledger(5, cap=3), HELD, 0.0, AcceptedGrant(5, 3, 5), ""),
    ("the same ledger again changes nothing", ledger(4, cap=5), HELD, 99.0, HELD, ""),
    ("a ledger newer for others only", ledger(6, cap=5, since=4), HELD, 99.0, AcceptedGrant(6, 5, 4), ""),
    ("an older ledger is refused", ledger(3, cap=9), HELD, 99.0, HELD, "went back from sequence 4 to 3"),
    (
        "a pod without entry waits",
        ledger(4, static=8),
        AcceptedGrant(),
        9.9,
        AcceptedGrant(4),
        "after 10 s the pod uses the static share of 8",
    ),
    ("after 10 s it takes the static share", ledger(4, static=8), AcceptedGrant(), 10.0, AcceptedGrant(4, 8, 4), ""),
    (
        "without a static share it waits on",
        ledger(4),
        AcceptedGrant(),
        99.0,
        AcceptedGrant(4),
        "no static share",
    ),
    (
        "an entry replaces the static share",
        ledger(5, cap=2, static=8),
        AcceptedGrant(4, 8, 4),
        99.0,
        AcceptedGrant(5, 2, 5),
        "",
    ),
    ("a cap once held is kept when its entry is gone", ledger(6), HELD, 0.0, AcceptedGrant(6, 5, 4), ""),
    (
        "a cap of 0 is no grant: PgBouncer reads 0 as unlimited",
        ledger(4, cap=0),
        AcceptedGrant(),
        0.0,
        AcceptedGrant(4),
        "no grant",
    ),
    ("without a ledger a cap is kept", Mounts(grants_error="gone", uid=OURS), HELD, 99.0, HELD, "gone"),
    (
        "without a ledger there is no static share either",
        Mounts(grants_error="gone"),
        AcceptedGrant(),
        99.0,
        AcceptedGrant(),
        "gone",
    ),
]


@pytest.mark.parametrize(
    ("mounts", "seen", "waited", "expected", "complaint"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_ledger_is_obeyed_as_far_as_it_may_be(
    mounts: Mounts, seen: AcceptedGrant, waited: float, expected: AcceptedGrant, complaint: str
) -> None:
    held = accept(mounts, seen, waited, static_after=10.0)
    assert held.grant == expected
    assert complaint in held.problem
    assert bool(held.problem) == bool(complaint)
