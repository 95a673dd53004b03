import pytest

from pgbouncer_operator.sizing.limits import ServerLimits


@pytest.mark.parametrize(("maximum", "reserved", "usable"), [(100, 3, 97), (5, 3, 2), (3, 5, 0)])
def test_ordinary_logins_get_what_is_not_reserved(maximum: int, reserved: int, usable: int) -> None:
    assert ServerLimits(maximum, reserved, "").usable == usable


@pytest.mark.parametrize(
    ("most", "above", "near"),
    [(0, False, False), (92, False, False), (93, False, True), (97, False, True), (98, True, True)],
)
def test_a_sum_is_near_the_limit_when_less_than_a_twentieth_is_left(most: int, above: bool, near: bool) -> None:
    limits = ServerLimits(100, 3, "")
    assert (limits.exceeded_by(most), limits.near(most)) == (above, near)
