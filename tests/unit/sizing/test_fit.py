import pytest

from pgbouncer_operator.sizing.fit import FitRequest, fit, per_pod


def shortage(budget: int, replicas: int, databases: int, caps: dict[str, int] | None = None) -> str | None:
    return fit(FitRequest(budget, replicas, databases, caps or {})).shortage


def test_pods_that_do_not_fit_are_told_with_the_field_and_both_remedies() -> None:
    assert shortage(8, 6, 2) == (
        "6 wanted, 4 fit: serverConnections.max is 8, and 6 pods need at least 12 "
        "(each database needs one connection in each pod). Raise serverConnections.max or lower replicas."
    )


def test_a_cap_that_lets_fewer_pods_run_is_the_one_named() -> None:
    told = shortage(100, 3, 1, {"users[batch].serverConnections.max": 2})
    assert told is not None
    assert told.startswith("3 wanted, 2 fit: users[batch].serverConnections.max is 2, and 3 pods need at least 3 ")
    assert told.endswith("Raise users[batch].serverConnections.max or lower replicas.")


def test_a_budget_below_one_pod_lets_none_run() -> None:
    found = fit(FitRequest(2, 2, 3, {}))
    assert (found.replicas, found.surge, found.static) == (0, 0, 0)
    assert found.shortage is not None
    assert found.shortage.startswith("2 wanted, 0 fit:")


@pytest.mark.parametrize(
    ("budget", "replicas", "databases", "pods", "surge", "static"),
    [
        (25, 2, 1, 2, 1, 8),  # room for one pod more: a roll adds before it removes
        (4, 2, 2, 2, 0, 2),  # no room: a roll removes before it adds
        (25, 0, 1, 0, 1, 25),
        (5, 5, 1, 5, 0, 1),
        (100, 3, 4, 3, 1, 25),
    ],
)
def test_what_fits(budget: int, replicas: int, databases: int, pods: int, surge: int, static: int) -> None:
    found = fit(FitRequest(budget, replicas, databases, {}))
    assert (found.replicas, found.surge, found.static, found.shortage) == (pods, surge, static, None)


@pytest.mark.parametrize("budget", range(1, 40))
@pytest.mark.parametrize("databases", [1, 2, 5])
def test_pods_that_start_on_the_static_share_stay_within_the_budget_and_above_the_floor(
    budget: int, databases: int
) -> None:
    for replicas in range(8):
        found = fit(FitRequest(budget, replicas, databases, {}))
        assert (found.replicas + found.surge) * found.static <= budget
        assert not found.replicas or found.static >= found.floor


@pytest.mark.parametrize(("cap", "pods", "each"), [(None, 3, None), (9, 3, 3), (10, 3, 3), (2, 3, 1), (4, 0, 4)])
def test_a_cap_is_shared_out_and_never_becomes_zero(cap: int | None, pods: int, each: int | None) -> None:
    assert per_pod(cap, pods) == each


def test_one_pod_needs_and_two_pods_need() -> None:
    assert "and 1 pod needs at least 3 " in str(shortage(2, 1, 3))
