"""A PostgresServer with pools on it, as its owner sees and changes it, and a watch over what it promises them."""

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.api import CONFIG_MAPS, PODS, SERVERS, Api
from tests.cluster.pools import Namespace, Object, pool

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.grants import Grants

SERVER = "budgeted"
LOOK_EVERY = 0.5  # seconds
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


def cap(ledger: Grants, uid: str) -> int:
    """What a ready pod may hold: its grant, or the static share that it has taken while no operator was there."""
    grant = ledger.pods.get(uid)
    return grant.cap if grant else ledger.static


@dataclass(slots=True)
class Watch:
    """Looks all the time at the server and the pools' ledgers; the least and the most that was ever seen.

    spare: the least that was charged for each pool beyond one connection for each of its ready pods. granted: the least
    cap of each pool's ready pods. given: the most of all allocations together. charged: of what is charged for them.
    """

    asked: Api
    pools: tuple[str, ...]
    spare: dict[str, int] = field(default_factory=dict)
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
        while not self.over.wait(LOOK_EVERY):
            try:
                before = self._ready()
                entries = self.asked.get(SERVERS, SERVER)["status"].get("allocations", ())
                ledgers = {name: self._ledger(name) for name in self.pools}
                after = self._ready()
            except OSError:
                continue  # the API server, on a busy machine
            for name, ledger in ledgers.items():
                uids = before[name] & after[name]
                self.take(name, [cap(ledger, uid) for uid in uids], entries)
            self.given = max(self.given, sum(each["connections"] for each in entries))
            self.charged = max(self.charged, sum(max(each["connections"], each["high"]) for each in entries))
            self.looks += 1

    def take(self, name: str, caps: list[int], entries: list[Object]) -> None:
        """Take in the caps of a pool's ready pods, and the server's allocations of the same moment."""
        held = sum(max(each["connections"], each["high"]) for each in entries if each["pool"].endswith(f"/{name}"))
        self.spare[name] = min(held - len(caps), self.spare.get(name, held))
        if caps:
            self.granted[name] = min([*caps, self.granted.get(name, caps[0])])

    def _ledger(self, name: str) -> Grants:
        return Grants.from_json(self.asked.get(CONFIG_MAPS, naming.grants_config_map(name))["data"][naming.GRANTS_KEY])

    def _ready(self) -> dict[str, set[str]]:
        """The uids of each pool's ready pods that are not terminating."""
        found: dict[str, set[str]] = {name: set() for name in self.pools}
        for pod in self.asked.get(PODS)["items"]:
            metadata, conditions = pod["metadata"], pod["status"].get("conditions", ())
            ready = any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)
            if ready and "deletionTimestamp" not in metadata:
                found.setdefault(metadata.get("labels", {}).get(naming.LABEL_POOL, ""), set()).add(metadata["uid"])
        return found
