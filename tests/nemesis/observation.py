"""Sixty clients of the three pools, and what they and PostgreSQL report while events happen."""

import concurrent.futures
import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.cluster import server, servers
from tests.localcluster import traffic
from tests.localcluster.problem import Problem
from tests.localcluster.traffic import Running, Traffic
from tests.nemesis import tally
from tests.nemesis.promises import Breach, Promise
from tests.nemesis.scene import POOLS, Scene

LONG_SECONDS = 100_000
# Transactions take longer than a login, so that the clients use all of the budget on two processors.
WORK = ("--work", "0.4", "--think", "0.3", "--seconds", str(LONG_SECONDS))
RECONNECTING = ("--clients", "14", "--reconnecting", "7", "--lifetime", "4", *WORK)
IMMORTAL = ("--clients", "4", *WORK)
IMMORTAL_NAME = "immortal"
LOOK_EVERY = 0.5


def loads() -> list[Traffic]:
    """The clients: for each pool 14 that reconnect and 4 that never do, and 6 of other drivers; 60 together."""
    found = [Traffic(f"reconnecting-{pool}", 1, RECONNECTING, f"{pool}-connection") for pool in POOLS]
    found += [Traffic(f"{IMMORTAL_NAME}-{pool}", 1, IMMORTAL, f"{pool}-connection") for pool in POOLS]
    found += [
        Traffic("asyncpg", 1, ("--clients", "3"), f"{POOLS[0]}-connection", program="load.drivers"),
        Traffic("node", 1, ("3", "10"), f"{POOLS[1]}-connection", program="node_clients.js"),
    ]
    return found


@dataclass(slots=True)
class Log:
    """The lines of PostgreSQL's log since this began."""

    lines: list[str] = field(default_factory=list)
    read: int = 0

    def more(self) -> list[str]:
        """The lines that came since the last call."""
        found = self.lines[self.read :]
        self.read += len(found)
        return found


@dataclass(slots=True)
class Machine:
    """How late a thread wakes that wanted to wait for 50 ms: a machine with too much work is no fault of the pools."""

    worst: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Look until the end."""
        began = time.monotonic()
        while not self.over.wait(0.05):
            self.worst = max(self.worst, time.monotonic() - began - 0.05)
            began = time.monotonic()

    def take(self) -> float:
        """The worst delay since the last call, seconds."""
        worst, self.worst = self.worst, 0.0
        return worst


@dataclass(slots=True)
class Observation:
    """Everything that is counted. A thread looks twice a second; `breaches` gives each breach once."""

    scene: Scene
    counted: traffic.Census
    log: Log
    machine: Machine
    running: dict[str, Running]
    tallies: dict[str, tally.Tally]
    read: int = 0
    ended: set[str] = field(default_factory=set)
    """Clients whose pod has ended, each of which is one breach."""
    over: threading.Event = field(default_factory=threading.Event)

    def breaches(self) -> list[Breach]:
        """What broke since the last call."""
        found: list[Breach] = []
        while self.scene.breaches:
            found.append(self.scene.breaches.pop(0))
        return found

    def watch(self) -> None:
        """Look until the end."""
        while not self.over.wait(LOOK_EVERY):
            self.scene.breaches.extend(self.look())

    def look(self) -> list[Breach]:
        """What broke since the last look."""
        now, found = time.monotonic(), list[Breach]()
        for name, each in self.running.items():
            if each.latest:
                found += self.tallies[name].take(each.account(), now)
            if each.finished and name not in self.ended:
                self.ended.add(name)
                found.append(Breach(Promise.FAILED, now, 1, name, "the clients' pod has ended"))
        found += filter(None, (self._above(), tally.refused_by_server(self.log.more(), now)))
        return found

    def _above(self) -> Breach | None:
        fresh = self.counts()[self.read :]
        self.read += len(fresh)
        over = [each for each in fresh if each[1] > self.scene.budget.at(each[0])]
        return tally.above(over, self.scene.budget.at(over[0][0])) if over else None

    def counts(self) -> list[tuple[float, int]]:
        """PostgreSQL's counts: (monotonic seconds, connections)."""
        return self.counted.since(0.0)

    @property
    def committed(self) -> int:
        """Transactions of all clients."""
        return sum(each.committed for each in self.tallies.values())

    def lost(self) -> list[Breach]:
        """End the clients; rows of committed transactions that PostgreSQL does not have."""
        self.over.set()
        found = self.look()
        for name, each in self.running.items():
            each.finish()
            if name == "node":
                continue  # it does not number its transactions
            rows = server.rows(self.scene.here, each, server.SERVER)
            if rows.lost:
                found.append(Breach(Promise.LOST, time.monotonic(), rows.lost, name, str(rows)))
        return found


@contextlib.contextmanager
def observed(scene: Scene) -> Iterator[Observation]:
    """The clients work and everything is counted while the block runs."""
    here = scene.here
    with contextlib.ExitStack() as stack:
        counted = traffic.census(here.site, here.name)
        stack.callback(counted.stop)
        log, machine = stack.enter_context(_followed(scene)), Machine()
        stack.callback(machine.over.set)
        threading.Thread(target=machine.watch, daemon=True).start()
        with concurrent.futures.ThreadPoolExecutor(len(loads())) as together:
            started = list(together.map(lambda each: traffic.start(here.site, here.name, each), loads()))
        stack.callback(_remove, scene)
        running = {each.name: each for each in started}
        here.wait(lambda: all(each.latest and each.account()["committed"] for each in started), "all clients at work")
        tallies = {name: tally.Tally(name, name.startswith(IMMORTAL_NAME)) for name in running}
        observation = Observation(scene, counted, log, machine, running, tallies)
        stack.callback(observation.over.set)
        threading.Thread(target=observation.watch, daemon=True).start()
        yield observation


@contextlib.contextmanager
def _followed(scene: Scene) -> Iterator[Log]:
    """PostgreSQL's log from now on."""
    log, here = Log(), scene.here
    name = servers.pod(here, "postgres")["metadata"]["name"]
    command = ("kubectl", "logs", "-f", "--tail=0", "-n", here.name, name)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(here.site.env)) as process:
        assert process.stdout is not None
        lines = process.stdout
        threading.Thread(target=lambda: log.lines.extend(lines), daemon=True).start()
        try:
            yield log
        finally:
            process.kill()


def _remove(scene: Scene) -> None:
    for each in loads():
        with contextlib.suppress(Problem):
            scene.here.kubectl(
                "delete", "pod", f"--selector=traffic={each.name}", "--wait=false", "--grace-period=0", "--force"
            )


def processors() -> str:
    """How busy the machine is."""
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
