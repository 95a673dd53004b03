"""The cluster of tests about PostgresServers. Other modules make a `world` of their own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.simulated.operators import Cluster, cluster


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """A cluster with the namespace `platform`, where `server_pools.server` lives."""
    async with cluster(tmp_path, monkeypatch) as made:
        made.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "platform"}})
        yield made
