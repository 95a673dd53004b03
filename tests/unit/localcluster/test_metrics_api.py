"""The metrics API that autoscalers' tests speak for."""

from datetime import UTC, datetime

from tests.localcluster.load.metrics_api import ROOT, Figures

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_it_lists_every_pod_that_it_was_told_of_in_the_namespace_that_is_asked_for() -> None:
    found = Figures("pgbouncer", {"shop-1": 20, "shop-0": 600}).answer(f"{ROOT}/namespaces/shop/pods", NOW)

    assert found is not None
    assert found["kind"] == "PodMetricsList"
    assert [each["metadata"] for each in found["items"]] == [
        {"name": "shop-0", "namespace": "shop"},
        {"name": "shop-1", "namespace": "shop"},
    ]
    assert found["items"][0]["containers"][0]["name"] == "pgbouncer"
    assert [each["containers"][0]["usage"]["cpu"] for each in found["items"]] == ["600m", "20m"]
    assert found["items"][0]["timestamp"] == "2026-01-02T03:04:05Z"


def test_it_is_found_and_says_of_anything_else_that_it_is_not_there() -> None:
    figures = Figures("pgbouncer")

    assert figures.answer(ROOT, NOW) is not None
    assert [figures.answer(path, NOW) for path in ("/apis", f"{ROOT}/nodes", f"{ROOT}/namespaces/shop")] == [None] * 3
