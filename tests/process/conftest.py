"""Servers that many tests share."""

from collections.abc import Iterator

import pytest
from tests.process import servers
from tests.process.agentcase import pod
from tests.process.draining import transactional


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Postgres]:
    """One PostgreSQL for the session; a test makes the roles it needs."""
    with servers.postgres() as server:
        yield server


@pytest.fixture
def bouncer() -> Iterator[servers.Bouncer]:
    """A PgBouncer of the test's own, not yet started."""
    with servers.bouncer() as process:
        yield process


__all__ = ["bouncer", "pod", "postgres", "transactional"]
