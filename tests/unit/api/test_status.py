"""Status: what is unknown is absent, and a status of another version does no harm."""

import pytest

from pgbouncer_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from pgbouncer_operator.api.status import (
    Advice,
    Binding,
    ClientsStatus,
    Configuration,
    How,
    LastChange,
    PoolStatus,
    Recommendation,
    ServerConnectionsStatus,
    Summary,
    previous,
    ratio,
)

FULL = PoolStatus(
    observed_generation=3,
    conditions=(
        Condition(
            type=ConditionType.READY,
            status=ConditionStatus.TRUE,
            reason=Reason.READY,
            last_transition_time="2026-11-21T01:00:00Z",
        ),
    ),
    replicas=2,
    ready_replicas=2,
    selector="pgbouncer-operator.io/pool=shop-pool",
    endpoint="shop-pool.shop.svc:6432",
    binding=Binding(name="shop-pool-connection"),
    image="pgbouncer:1.26.1",
    configuration=Configuration(hash="0123456789abcdef", applied="2/2", pods_applied=2, pods_total=2),
    server_connections=ServerConnectionsStatus(max=25, size=25, allocated=24, open=7, busy=3, waiting=0),
    clients=ClientsStatus(connected=412, max_per_pod=2000),
    recommendation=Recommendation(value=9, reason="Enough", inputs="3.1 connections were in use, 0 clients waited."),
    advice=(Advice(reason="OverSized", message="9 connections would do, serverConnections.max is 25."),),
    summary=Summary(pods="2/2", connections="7/25"),
    last_change=LastChange(what="spec.poolMode", how=How.RELOAD, seconds=1, pods=2, at="2026-11-21T01:00:00Z"),
    connection_secrets=("shop-pool-connection", "shop-pool-direct"),
)


def test_an_unknown_figure_is_absent_and_never_zero() -> None:
    assert PoolStatus().wire() == {}
    assert PoolStatus(clients=ClientsStatus(connected=0)).wire() == {"clients": {"connected": 0}}


def test_a_full_status_goes_over_the_wire_and_back() -> None:
    assert previous({"status": FULL.wire()}) == FULL


def test_equal_status_gives_equal_bytes_so_that_nothing_is_written() -> None:
    assert previous({"status": FULL.wire()}).wire() == FULL.wire()


@pytest.mark.parametrize(
    "body",
    [{}, {"status": None}, {"status": {}}, {"status": "x"}, {"status": {"conditions": [{"type": "OfTheFuture"}]}}],
)
def test_a_status_that_does_not_parse_counts_as_none(body: dict[str, object]) -> None:
    assert previous(body) == PoolStatus()


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(2, 2, "2/2"), (0, 25, "0/25"), (None, 25, None), (7, None, None), (None, None, None)]
)
def test_a_column_of_two_numbers_is_empty_while_one_is_unknown(
    part: int | None, whole: int | None, text: str | None
) -> None:
    assert ratio(part, whole) == text
