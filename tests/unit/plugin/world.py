"""A cluster as a file of objects, which a small program named kubectl reads, and the commands that run against it."""

import copy
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.contract.pools import pool
from tests.unit.plugin import fake_kubectl

from pgbouncer_operator import naming
from pgbouncer_operator.plugin import commands
from pgbouncer_operator.plugin.waiting import Clock

Body = dict[str, Any]
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
OPERATOR = "pgbouncer-operator"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command did."""

    code: int
    text: str
    errors: str

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.text.splitlines()]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(slots=True)
class World:
    """The cluster."""

    path: Path
    capsys: pytest.CaptureFixture[str]
    waited: list[float] = field(default_factory=list)
    """The seconds of each wait."""
    meanwhile: Callable[[], object] = lambda: None
    """What happens in the cluster while a command waits."""

    def read(self) -> Body:
        body: Body = json.loads(self.path.read_text(encoding="utf-8"))
        return body

    def write(self, **members: Any) -> None:
        self.path.write_text(json.dumps({**self.read(), **members}), encoding="utf-8")

    def put(self, *bodies: Body) -> None:
        """Add objects, or replace those of the same kind, namespace and name."""
        new = {_key(each): each for each in bodies}
        kept = [each for each in self.read()["objects"] if _key(each) not in new]
        self.write(objects=[*kept, *new.values()])

    def get(self, kind: str, name: str, namespace: str = "default") -> Body:
        (found,) = (each for each in self.read()["objects"] if _key(each) == (kind, namespace, name))
        return found  # type: ignore[no-any-return]

    def run(self, *arguments: str) -> Answer:
        """Run `kubectl pgbouncer` with these arguments."""
        self.capsys.readouterr()
        code = commands.run(arguments, Clock(lambda: NOW, self._sleep))
        printed = self.capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    def _sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.meanwhile()


def made(folder: Path, capsys: pytest.CaptureFixture[str]) -> World:
    """An empty cluster, and its kubectl in the folder."""
    path, program = folder / "world.json", folder / "kubectl"
    members = {"objects": [], "forbidden": [], "served": list(fake_kubectl.KINDS), "context": "shop", "raw": {}}
    path.write_text(json.dumps(members), encoding="utf-8")
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -SE {fake_kubectl.__file__} {path} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return World(path, capsys)


def served(name: str = "shop-pool", namespace: str = "default", **status: Any) -> Body:
    """A pool that is Ready; status replaces fields of its status."""
    body = pool(name=name)
    body["metadata"] |= {"namespace": namespace, "generation": 3}
    body["status"] = {
        "observedGeneration": 3,
        "conditions": [condition("Ready", "True", "Ready", "2 pods serve, and a login to PostgreSQL works.")],
        "summary": {"pods": "2/2", "connections": "7/25"},
        "serverConnections": {"max": 25, "size": 20, "open": 7, "busy": 3, "waiting": 4},
        "clients": {"connected": 40},
        "operator": OPERATOR,
        **status,
    }
    return copy.deepcopy(body)


def condition(kind: str, status: str, reason: str, message: str = "words") -> Body:
    return {"type": kind, "status": status, "reason": reason, "message": message}


POOL_METRICS = ("clients_active", "clients_waiting", "oldest_wait_seconds", "servers_active", "servers_idle")


def serve(world: World, name: str, rows: Sequence[tuple[str, str, Sequence[float]]]) -> None:
    """A pod of the pool whose metrics have a row for each database and login, in the order of POOL_METRICS."""
    labels = {naming.LABEL_POOL: "shop-pool"}
    world.put({"kind": "Pod", "metadata": {"namespace": "default", "name": name, "labels": labels}})
    text = "pgbouncer_up 1\n" + "".join(
        f'pgbouncer_pool_{metric}{{database="{database}",user="{user}"}} {value}\n'
        for database, user, values in rows
        for metric, value in zip(POOL_METRICS, values, strict=True)
    )
    world.write(raw={**world.read()["raw"], path(name): text})


def path(pod: str) -> str:
    """Where the API server has the metrics of a pod."""
    return f"/api/v1/namespaces/default/pods/{pod}:9127/proxy/metrics"


def follow(world: World) -> None:
    """What the operator does about spec.traffic, in one look."""
    for body in (each for each in world.read()["objects"] if each["kind"] == "ConnectionPool"):
        if body["spec"].get("traffic") == "Paused":
            end = (NOW + timedelta(seconds=body["spec"]["pauseTimeoutSeconds"])).strftime("%H:%M:%S")
            message = f"2 of 2 pods hold queries back, until {end} UTC at the latest."
            paused(world, body, condition("Paused", "True", "Paused", message))
        else:
            paused(world, body, condition("Paused", "False", "Flowing", "Queries reach the server."))


def paused(world: World, body: Body, found: Body) -> None:
    """Set the condition Paused of a pool, in a status that is about its present spec."""
    others = [each for each in body["status"]["conditions"] if each["type"] != "Paused"]
    body["status"] |= {"conditions": [*others, found], "observedGeneration": body["metadata"]["generation"]}
    world.put(body)


def lease(renewed: str = "2026-03-01T11:59:58.000000Z", holder: str = "operator-1") -> Body:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed}
    return {"kind": "Lease", "metadata": {"namespace": OPERATOR, "name": "pgbouncer-operator"}, "spec": spec}


def _key(body: Body) -> tuple[str, str, str]:
    return body["kind"], body["metadata"]["namespace"], body["metadata"]["name"]
