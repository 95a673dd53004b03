"""The whole operator, as `pgbouncer-operator run` starts it, on a simulated cluster."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.simulated.agents import Agents
from tests.simulated.apiserver.records import Object, Write
from tests.simulated.apiserver.server import ApiServer

from pgbouncer_operator import naming, postgres
from pgbouncer_operator.app import Operator
from pgbouncer_operator.kube.resources import CONNECTION_POOLS, LEASES, Resource
from pgbouncer_operator.reconcile.intervals import NORMAL, Intervals
from pgbouncer_operator.reconcile.server.limits_poller import Ask
from pgbouncer_operator.settings import Settings

PATIENCE = 30.0


@dataclass(slots=True)
class Cluster:
    """A cluster with nodes and agents, and what a test does to it."""

    api: ApiServer
    agents: Agents
    kubeconfig: Path
    intervals: Intervals = NORMAL
    ask: Ask = postgres.limits

    @contextlib.asynccontextmanager
    async def operator(
        self, port: int = 0, identity: str = "first", **settings: Any
    ) -> AsyncIterator[asyncio.Task[None]]:
        """Run an operator; it is stopped as by SIGTERM. port: of its metrics; 0 for any that is free."""
        chosen = Settings(**{"pool_image": "pool:1", "identity": identity, "http_port": port, **settings})
        running = asyncio.create_task(Operator(chosen, self.kubeconfig, self.intervals, self.ask).run())
        try:
            yield running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def respec(self, name: str = "shop", **spec: Any) -> None:
        """The user of a pool writes these fields of its spec."""
        self.api.edit(CONNECTION_POOLS, ("default", name), lambda body: body["spec"].update(spec))

    def refresh(self, name: str = "shop") -> None:
        """The user asks for the pool's Secrets to be read again."""
        mark = {naming.ANNOTATION_REFRESH: "1"}

        def change(body: Object) -> None:
            body["metadata"].setdefault("annotations", {}).update(mark)

        self.api.edit(CONNECTION_POOLS, ("default", name), change)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, with a deadline."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"never came true: {what}"
            await asyncio.sleep(0.02)

    async def until_ready(self, *names: str) -> None:
        """Wait until these pools say so for their present spec."""
        await self.until(lambda: all(self.ready(name) for name in names), f"{', '.join(names)} ready")

    def ready(self, name: str) -> bool:
        """Whether the pool's condition Ready is True for its present generation."""
        condition = self.condition(name, "Ready")
        generation = self.pool(name)["metadata"]["generation"]
        return condition.get("status") == "True" and condition.get("observedGeneration") == generation

    def condition(self, name: str, type_: str) -> Object:
        """A condition of a pool; empty if it is not there."""
        conditions = (self.pool(name).get("status") or {}).get("conditions") or ()
        return next((each for each in conditions if each["type"] == type_), {})

    def pool(self, name: str) -> Object:
        return self.api.storage.peek(CONNECTION_POOLS, "default", name)

    def exists(self, resource: Resource, name: str) -> bool:
        return self.api.storage.exists(resource.plural, ("default", name))

    def leader(self) -> str:
        """Who holds the lease; empty if nobody."""
        return next((str(lease["spec"]["holderIdentity"]) for lease in self.api.find(LEASES)), "")

    def writes(self, since: int = 0) -> list[Write]:
        """What operators wrote, the lease left out."""
        ours = (each for each in self.api.writes[since:] if each.manager == naming.FIELD_MANAGER)
        return [each for each in ours if each.plural != "leases"]

    async def settled(self, seconds: float = 2.0) -> None:
        """Wait until no operator has written anything for that long."""
        deadline = time.monotonic() + PATIENCE
        seen, since = len(self.writes()), time.monotonic()
        while time.monotonic() - since < seconds:
            assert time.monotonic() < deadline, f"never at rest: {self.writes()[-5:]}"
            await asyncio.sleep(0.05)
            if len(self.writes()) != seen:
                seen, since = len(self.writes()), time.monotonic()


@contextlib.asynccontextmanager
async def cluster(directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """An empty cluster whose kubeconfig KUBECONFIG names, with the users' Secret `shop-db`."""
    async with ApiServer() as api, Agents(api) as agents:
        path = api.write_kubeconfig(directory / "kubeconfig")
        monkeypatch.setenv("KUBECONFIG", str(path))
        login = {"username": "shop", "password": "correct horse battery staple"}
        api.create({"apiVersion": "v1", "kind": "Secret", "metadata": _named("shop-db"), "stringData": login})
        yield Cluster(api, agents, path)


@contextlib.asynccontextmanager
async def highest(look: Callable[[], int]) -> AsyncIterator[list[int]]:
    """The highest that was seen while this lasts, in a list of its own; empty before the first look."""
    found: list[int] = []

    async def sample() -> None:
        while True:
            found[:] = [max([look(), *found])]
            await asyncio.sleep(0.01)

    sampling = asyncio.ensure_future(sample())
    try:
        yield found
    finally:
        sampling.cancel()


def pool(name: str = "shop", **spec: Any) -> Object:
    """A good pool, with `spec` laid over it."""
    body = {
        "backend": {"host": "postgres"},
        "databases": [{"name": "shop"}],
        "users": [{"name": "shop", "secretRef": {"name": "shop-db"}}],
        "serverConnections": {"max": 25},
        "replicas": 2,
    }
    return {"apiVersion": naming.API_VERSION, "kind": naming.KIND, "metadata": _named(name), "spec": body | spec}


def _named(name: str) -> Object:
    return {"namespace": "default", "name": name}
