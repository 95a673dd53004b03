"""How a server's budget is shared: guarantees first, then by weight, never more than there is."""

from hypothesis import given
from hypothesis import strategies as st

from pgbouncer_operator.sizing.fairness import Claim, Division, divide


def claim(name: str, want: int, guaranteed: int = 2, weight: int = 1, most: int = 1000) -> Claim:
    return Claim(name, floor=2, guaranteed=guaranteed, want=want, most=most, weight=weight)


def test_who_wants_little_gets_it_and_the_rest_is_shared_equally() -> None:
    found = divide(60, [claim("a", 10), claim("b", 100), claim("c", 100)])
    assert found == Division({"a": 10, "b": 25, "c": 25}, ())


def test_weights_share_the_rest() -> None:
    assert divide(60, [claim("a", 100, weight=2), claim("b", 100)]).parts == {"a": 40, "b": 20}


def test_a_guarantee_comes_before_any_weight() -> None:
    assert divide(30, [claim("a", 100, weight=100), claim("b", 20, guaranteed=20)]).parts == {"a": 10, "b": 20}


def test_a_guarantee_that_is_not_wanted_is_lent() -> None:
    assert divide(30, [claim("a", 100), claim("b", 3, guaranteed=20)]).parts == {"a": 27, "b": 3}


def test_nobody_gets_more_than_his_most() -> None:
    assert divide(60, [claim("a", 100, most=12), claim("b", 20)]).parts == {"a": 12, "b": 20}


def test_a_newcomer_whose_floor_does_not_fit_is_refused() -> None:
    assert divide(5, [claim("a", 9), claim("b", 9), claim("c", 9)]) == Division({"a": 3, "b": 2}, ("c",))


claims = st.lists(
    st.builds(
        Claim,
        name=st.uuids().map(str),
        floor=st.integers(1, 8),
        guaranteed=st.integers(0, 30),
        want=st.integers(0, 80),
        most=st.integers(8, 100),
        weight=st.integers(1, 50),
    ),
    max_size=12,
)


@given(st.integers(0, 200), claims)
def test_the_sum_never_passes_the_budget_and_nothing_wanted_is_left_over(budget: int, asked: list[Claim]) -> None:
    found = divide(budget, asked)
    assert sum(found.parts.values()) <= budget
    assert found.parts.keys() | set(found.refused) == {each.name for each in asked}
    taken = [each for each in asked if each.name in found.parts]
    assert all(each.floor <= found.parts[each.name] <= max(each.floor, min(each.want, each.most)) for each in taken)
    unmet = [each for each in taken if found.parts[each.name] < min(each.want, each.most)]
    if unmet:
        assert sum(found.parts.values()) == budget
