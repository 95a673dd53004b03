"""A simulated API server and a client of it, for one test."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulated.apiserver.server import ApiServer

from pgbouncer_operator.kube.client import Kube, Object, RequestOptions
from pgbouncer_operator.kube.transport import Call


@dataclass(slots=True)
class Pair:
    api: ApiServer
    kube: Kube
    calls: list[Call] = field(default_factory=list)


@contextlib.asynccontextmanager
async def pair(directory: Path, timeout: float = 5.0, chunk: int = 500) -> AsyncIterator[Pair]:
    calls: list[Call] = []
    limits = RequestOptions(timeout=timeout, observe=calls.append, random=lambda: 0.0)
    async with ApiServer() as api:
        kube = await Kube.from_kubeconfig(limits, api.write_kubeconfig(directory / "kubeconfig"), chunk=chunk)
        try:
            yield Pair(api, kube, calls)
        finally:
            await kube.close()


def config_map(name: str = "a", **data: str) -> Object:
    metadata = {"namespace": "default", "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def pool(name: str = "shop", **spec: object) -> Object:
    metadata = {"namespace": "default", "name": name}
    return {
        "apiVersion": "pgbouncer-operator.io/v1alpha1",
        "kind": "ConnectionPool",
        "metadata": metadata,
        "spec": spec,
    }
