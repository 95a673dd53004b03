"""Which cap a pod may act on."""

import pytest

from pgbouncer_operator.agent.grant import Seen, hold
from pgbouncer_operator.agent.mounts import Mounts
from pgbouncer_operator.protocol.grants import Grant, Grants

OURS = "uid-1"


def ledger(seq: int, cap: int | None = None, static: int = 0, since: int | None = None) -> Mounts:
    pods = {"uid-2": Grant(9, seq, 9)} | ({} if cap is None else {OURS: Grant(cap, since or seq, cap)})
    return Mounts(grants=Grants(seq, static, pods), uid=OURS)


HELD = Seen(4, 5, 4)
CASES = [
    ("an entry is obeyed", ledger(4, cap=5), Seen(), 0.0, HELD, ""),
    ("a newer entry is obeyed", ledger(5, cap=3), HELD, 0.0, Seen(5, 3, 5), ""),
    ("the same ledger again changes nothing", ledger(4, cap=5), HELD, 99.0, HELD, ""),
    ("a ledger newer for others only", ledger(6, cap=5, since=4), HELD, 99.0, Seen(6, 5, 4), ""),
    ("an older ledger is refused", ledger(3, cap=9), HELD, 99.0, HELD, "went back from sequence 4 to 3"),
    ("a pod without entry waits", ledger(4, static=8), Seen(), 9.9, Seen(4), "takes the static share of 8 after 10 s"),
    ("after 10 s it takes the static share", ledger(4, static=8), Seen(), 10.0, Seen(4, 8, 4), ""),
    ("without a static share it waits on", ledger(4), Seen(), 99.0, Seen(4), "there is no static share"),
    ("an entry replaces the static share", ledger(5, cap=2, static=8), Seen(4, 8, 4), 99.0, Seen(5, 2, 5), ""),
    ("a cap once held is kept when its entry is gone", ledger(6), HELD, 0.0, Seen(6, 5, 4), ""),
    ("a cap of 0 is no grant: PgBouncer reads 0 as unlimited", ledger(4, cap=0), Seen(), 0.0, Seen(4), "no grant"),
    ("without a ledger a cap is kept", Mounts(grants_error="gone", uid=OURS), HELD, 99.0, HELD, "gone"),
    ("without a ledger there is no static share either", Mounts(grants_error="gone"), Seen(), 99.0, Seen(), "gone"),
]


@pytest.mark.parametrize(
    ("mounts", "seen", "waited", "expected", "complaint"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_ledger_is_obeyed_as_far_as_it_may_be(
    mounts: Mounts, seen: Seen, waited: float, expected: Seen, complaint: str
) -> None:
    held = hold(mounts, seen, waited, static_after=10.0)
    assert held.seen == expected
    assert complaint in held.complaint
    assert bool(held.complaint) == bool(complaint)
