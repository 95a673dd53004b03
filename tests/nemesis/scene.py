"""The place of a campaign: a namespace with three pools on one PostgresServer, whose role is held to the budget."""

import contextlib
import itertools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.cluster import budgets, programs, server, servers
from tests.cluster.pools import KIND, USER, Namespace, Object
from tests.localcluster import deploy
from tests.localcluster.deploy import Site
from tests.localcluster.waiting import let_pass
from tests.nemesis.promises import Breach, Budget, Promise

from pgbouncer_operator import naming

POOLS = ("one", "two", "three")
LESS, BUDGET, MORE = 24, 30, 36
MOST = (8, 12, 16)
"""Values of serverConnections.max; the middle one at the start."""
REPLICAS = {"one": (2, 3), "two": (2, 3, 4), "three": (2, 3)}
"""Values of replicas; the second last at the start. A pool with one pod has a kind of event of its own."""
SPARE = "spare"
"""A second user of every pool, whose password is rotated. The load logs in as `shop`."""
BYSTANDER = "bystander"
REPAIR_SECONDS = 180.0
SLOTS = 100  # max_connections of the server: the role's limit is what holds


@dataclass(slots=True)
class Scene:
    """What events act on."""

    here: Namespace
    node: str | None = None
    """A second node to drain, or none."""
    budget: Budget = field(default_factory=Budget)
    breaches: list[Breach] = field(default_factory=list)
    """What broke and was not judged yet."""
    due: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    """What ends an event later: (monotonic seconds, action)."""
    turns: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """Numbers that do not repeat, for values that must change."""

    def pool(self, chance: random.Random) -> str:
        """Any of the pools."""
        return chance.choice(POOLS)

    def pod(self, chance: random.Random, pool: str) -> Object:
        """Any of the pool's pods that are not terminating; IndexError when there is none."""
        return chance.choice(sorted(self.here.pods(pool), key=lambda each: str(each["metadata"]["name"])))

    def spec(self, pool: str) -> dict[str, Any]:
        """A pool's spec as it is now."""
        spec: dict[str, Any] = self.here.get(KIND, pool)["spec"]
        return spec

    def move_fence(self, connections: int) -> None:
        """From now on PostgreSQL itself refuses a login above so many sessions, and no more may be counted."""
        server.sql(self.here, f"ALTER ROLE shop CONNECTION LIMIT {connections}")
        self.budget.limits.append((time.monotonic(), connections))

    def complain(self, promise: Promise, count: int, where: str, text: str) -> None:
        """An event itself has seen that a promise broke."""
        self.breaches.append(Breach(promise, time.monotonic(), count, where, text))

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """End the event that many seconds from now."""
        self.due.append((time.monotonic() + seconds, action))

    def run_due(self, moment: float) -> None:
        """Run what is due at that moment (monotonic seconds)."""
        ready = [each for each in self.due if each[0] <= moment]
        self.due = [each for each in self.due if each[0] > moment]
        for _, action in ready:
            action()

    def wait_due(self) -> None:
        """Wait until everything that ends later has ended."""
        while self.due:
            let_pass(max(0.0, min(moment for moment, _ in self.due) - time.monotonic()))
            self.run_due(time.monotonic())

    def ask(self, program: str, *arguments: str, host: str, seconds: float = 60) -> str:
        """Run a Python program in the bystander's pod, which is no client of the load; what it prints."""
        inside = ("timeout", f"{seconds:.0f}", "python3", "-c", program, host, *arguments)
        return self.here.kubectl("exec", BYSTANDER, "--", *inside).strip()


def member(name: str) -> Object:
    """One of the three pools as it is at the start."""
    users = [USER, {"name": SPARE, "secretRef": {"name": f"{SPARE}-db"}}]
    connection = [{"name": f"{name}-connection", "database": "shop", "user": "shop"}]
    return budgets.member(name, MOST[1], replicas=REPLICAS[name][-2], users=users, connectionSecrets=connection)


def spare_secret(password: str) -> Object:
    """The Secret of the second user."""
    body = {"username": SPARE, "password": password}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{SPARE}-db"}, "stringData": body}


def build(here: Namespace) -> Scene:
    """Make everything, and wait until all pools are Ready."""
    servers.restart(here, SLOTS)
    server.sql(here, f"CREATE ROLE {SPARE} LOGIN PASSWORD 'spare-0'; GRANT ALL ON DATABASE shop TO {SPARE}")
    here.apply(spare_secret("spare-0"))
    here.apply(budgets.server(BUDGET))
    for name in POOLS:
        here.apply(member(name))
    here.wait_ready(*POOLS)
    programs.prepare(here, f"{POOLS[0]}-connection")
    here.apply(programs.pod(here, BYSTANDER, ("sleep", "100000"), f"{POOLS[0]}-connection", {}))
    here.kubectl("wait", f"pod/{BYSTANDER}", "--for=condition=Ready", "--timeout=60s")
    scene = Scene(here)
    scene.move_fence(BUDGET)
    return scene


def missing(scene: Scene) -> str:
    """What the pools and the server lack to be Ready with all their pods; "" when they lack nothing."""
    here = scene.here
    for pool in POOLS:
        wanted = scene.spec(pool).get("replicas", 2)
        found = [each for each in here.pods(pool) if ready(each)]
        if len(found) != wanted:
            return f"{pool}: {len(found)} of {wanted} pods are Ready"
        condition = here.condition(pool, "Ready")
        if condition.get("status") != "True":
            return f"{pool}: Ready is {condition.get('status')}, {condition.get('reason')}: {condition.get('message')}"
    return ""


def ready(pod: Object) -> bool:
    """Whether kubelet says so."""
    conditions = pod["status"].get("conditions", ())
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def repair(scene: Scene) -> None:
    """Bring everything back to the start after an event that the present code does not survive."""
    here = scene.here
    scene.run_due(float("inf"))
    if scene.budget.now < MORE:
        scene.move_fence(MORE)  # while the pools have yet to give back what the new ledgers do not know of
    here.kubectl("delete", "configmap", *map(naming.grants_config_map, POOLS), "--ignore-not-found")
    budgets.rebudget(here, BUDGET)
    for name in POOLS:
        here.apply(member(name))
    here.wait(lambda: not missing(scene) and budgets.resting(here, BUDGET), "all as at the start", REPAIR_SECONDS)
    scene.move_fence(BUDGET)


@contextlib.contextmanager
def namespace(site: Site, name: str) -> Iterator[Namespace]:
    """A namespace under the restricted profile with PostgreSQL while the block runs."""
    site.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=true")
    deploy.postgres(site, name)
    try:
        yield Namespace(site, name)
    finally:
        site.kubectl("delete", "namespace", name, "--wait=false")
