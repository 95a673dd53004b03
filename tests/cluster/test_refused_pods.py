"""Pods that a quota or a limit range refuses: the pool repeats who refuses and why, and serves once its spec fits."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.cluster.pools import Namespace, Object, pool

POD = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}}
AGENT = {"requests": {"cpu": "60m", "memory": "96Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}
QUOTA = {"requests.cpu": "2", "requests.memory": "2Gi", "limits.cpu": "4", "limits.memory": "4Gi"}
RANGE = {"type": "Container", "min": {"cpu": "50m", "memory": "64Mi"}, "max": {"cpu": "2", "memory": "2Gi"}}


def team(kind: str, **spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "team"}, "spec": spec}


POLICIES: Mapping[str, tuple[Object, str]] = {
    "quota": (team("ResourceQuota", hard=QUOTA), "failed quota: team: must specify limits.cpu for: agent"),
    "range": (team("LimitRange", limits=[RANGE]), "minimum cpu usage per Container is 50m"),
}


@pytest.fixture(params=POLICIES)
def policy(here: Namespace, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A policy in force: the name for its pool, and the words of its refusal."""
    body, words = POLICIES[request.param]
    here.apply(body)
    yield request.param, words
    here.delete(request.param)
    here.kubectl("delete", body["kind"], "team")


def test_a_pool_repeats_who_refuses_its_pods_and_serves_once_its_spec_fits(
    here: Namespace, policy: tuple[str, str]
) -> None:
    name, words = policy
    here.apply(pool(name, 4, pod={"resources": POD}))
    message = here.wait_condition(name, "Ready", "False", "PodsRefused")
    assert words in message
    assert "Correct the field of spec.pod" in message
    here.patch(name, pod={"resources": POD, "agentResources": AGENT})
    here.wait_ready(name)
