from pgbouncer_operator.kube.transport import Call
from pgbouncer_operator.metrics import Metrics


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"pgbouncer_operator_{name}", labels)


def test_requests_are_counted_by_verb_kind_and_code() -> None:
    metrics = Metrics()
    for code in (200, 200, 409, 0):
        metrics.called(Call("apply", "configmaps", code, 0.02))
    assert sample(metrics, "api_requests_total", verb="apply", resource="configmaps", code="200") == 2
    assert sample(metrics, "api_requests_total", verb="apply", resource="configmaps", code="0") == 1
    assert sample(metrics, "api_request_seconds_count", verb="apply") == 4


def test_reconciles_are_counted_by_result_and_no_pool_becomes_a_label() -> None:
    metrics = Metrics()
    metrics.reconciled(("ns", "secret-project"), 0.1, None)
    metrics.reconciled(("ns", "secret-project"), 0.1, ValueError("x"))
    assert sample(metrics, "reconciles_total", result="done") == 1
    assert sample(metrics, "reconciles_total", result="failed") == 1
    assert b"secret-project" not in metrics.text()


def test_sizes_and_advice_are_told_by_pool_as_status_has_them() -> None:
    metrics = Metrics()
    told = {
        "serverConnections": {"size": 20},
        "recommendation": {"value": 8, "reason": "Enough"},
        "advice": [{"reason": "OverSized"}],
    }
    metrics.statuses = lambda: [("web", "shop", told), ("web", "new", {})]
    where = {"namespace": "web", "pool": "shop"}
    assert sample(metrics, "pool_size", **where) == 20
    assert sample(metrics, "pool_recommendation", **where, reason="Enough") == 8
    assert sample(metrics, "pool_advice", **where, reason="OverSized") == 1
    assert b'pool="new"' not in metrics.text()


def test_budgets_of_servers_are_told_as_status_has_them() -> None:
    metrics = Metrics()
    told = {
        "limits": {"maxConnections": 100, "reserved": 3},
        "budget": 97,
        "allocated": 40,
        "allocations": [{"pool": "shop/web", "uid": "1", "connections": 30, "high": 40}],
        "advice": [{"reason": "LimitNearSum"}],
    }
    metrics.servers = lambda: [("platform", "rds", told), ("platform", "new", {})]
    where = {"namespace": "platform", "server": "rds"}
    figures = {"max_connections": 100, "reserved_connections": 3, "budget": 97, "allocated": 40}
    assert {name: sample(metrics, f"server_{name}", **where) for name in figures} == figures
    assert sample(metrics, "server_allocation", **where, pool="shop/web") == 30
    assert sample(metrics, "server_advice", **where, reason="LimitNearSum") == 1
    assert b'server="new"' not in metrics.text()


def test_each_condition_of_a_pool_or_a_server_is_a_series_with_its_status_and_reason() -> None:
    metrics = Metrics()
    ready = {"type": "Ready", "status": "False", "reason": "WaitingForPods", "message": "one pod is missing"}
    metrics.statuses = lambda: [("web", "shop", {"conditions": [ready]}), ("web", "new", {})]
    limits = {"type": "LimitsKnown", "status": "Unknown", "reason": "LimitsUnknown"}
    metrics.servers = lambda: [("platform", "rds", {"conditions": [limits]})]
    of_pool = {"namespace": "web", "pool": "shop", "type": "Ready", "status": "False", "reason": "WaitingForPods"}
    of_server = {"namespace": "platform", "server": "rds", **limits}
    assert sample(metrics, "pool_condition", **of_pool) == 1
    assert sample(metrics, "server_condition", **of_server) == 1
    assert b"one pod is missing" not in metrics.text()


def test_two_operators_in_one_process_do_not_share_counts() -> None:
    first, second = Metrics(), Metrics()
    first.called(Call("get", "pods", 200, 0.1))
    assert sample(second, "api_requests_total", verb="get", resource="pods", code="200") is None


def test_the_processs_own_memory_and_cpu_are_told() -> None:
    text = Metrics().text()
    assert b"process_resident_memory_bytes" in text
    assert b"process_cpu_seconds_total" in text
