"""A PostgresServer with pools on it, as its owner sees and changes it, and a watch over what it promises them."""

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.pools import Namespace, Object, pool
from tests.localcluster.problem import Problem

from pgbouncer_operator import naming

SERVER = "budgeted"
LOOK_EVERY = 1.0  # seconds; each is a process
DRAIN = {"timeoutSeconds": 30, "transactionSeconds": 10}


def server(budget: int) -> Object:
    """The namespace's PostgreSQL with a budget."""
    spec = {"host": "postgres", "connections": {"max": budget}}
    return {"apiVersion": naming.API_VERSION, "kind": naming.SERVER_KIND, "metadata": {"name": SERVER}, "spec": spec}


def member(name: str, most: int, **spec: Any) -> Object:
    """A pool on it."""
    connections = {"max": most, **spec.pop("serverConnections", {})}
    backend = {"serverRef": {"name": SERVER}}
    return pool(name, backend=backend, **{"serverConnections": connections, "drain": DRAIN, **spec})


def shared(here: Namespace) -> dict[str, Any]:
    """Its status."""
    found: dict[str, Any] = here.get(naming.SERVER_KIND, SERVER).get("status", {})
    return found


def allocations(status: Object) -> dict[str, int]:
    """What each pool of this namespace may hold."""
    return {each["pool"].partition("/")[2]: each["connections"] for each in status.get("allocations", ())}


def resting(here: Namespace, budget: int) -> bool:
    """Whether all of the budget is given, and nothing of it is on its way."""
    entries = shared(here).get("allocations", ())
    given = sum(each["connections"] for each in entries)
    return given == budget and all(each["high"] == each["connections"] for each in entries)


def rebudget(here: Namespace, budget: int) -> None:
    """Raise or lower it."""
    patch = json.dumps({"spec": {"connections": {"max": budget}}})
    here.kubectl("patch", naming.SERVER_KIND, SERVER, "--type=merge", "--patch", patch)


@dataclass(slots=True)
class Watch:
    """Looks all the time at the server and the pools' ledgers; the least and the most that was ever seen.

    allocated: the least of each pool's allocation. granted: the least cap of each pool's pods that hold a grant. given,
    charged: the most of all allocations, and of what is charged for them together.
    """

    here: Namespace
    pools: tuple[str, ...]
    allocated: dict[str, int] = field(default_factory=dict)
    granted: dict[str, int] = field(default_factory=dict)
    given: int = 0
    charged: int = 0
    looks: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    thread: "threading.Thread | None" = None

    def __enter__(self) -> "Watch":
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        if self.thread is not None:
            self.thread.join()

    def _run(self) -> None:
        names = [f"{naming.SERVER_KIND}/{SERVER}", *(f"cm/{naming.grants_config_map(name)}" for name in self.pools)]
        while not self.over.wait(LOOK_EVERY):
            try:
                self.look(json.loads(self.here.kubectl("get", *names, "--output=json"))["items"])
            except Problem:
                continue  # kubectl itself, on a busy machine

    def look(self, items: list[Object]) -> None:
        """Take in the server and the ledgers as they are now."""
        status, *ledgers = items
        entries = status["status"].get("allocations", ())
        for name, connections in allocations(status["status"]).items():
            self.allocated[name] = min(connections, self.allocated.get(name, connections))
        self.given = max(self.given, sum(each["connections"] for each in entries))
        self.charged = max(self.charged, sum(max(each["connections"], each["high"]) for each in entries))
        for name, body in zip(self.pools, ledgers, strict=True):
            pods = json.loads(body["data"][naming.GRANTS_KEY])["pods"].values()
            caps = [each["cap"] for each in pods if each["cap"]]
            if caps:
                self.granted[name] = min([*caps, self.granted.get(name, caps[0])])
        self.looks += 1
