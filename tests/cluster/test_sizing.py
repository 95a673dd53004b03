"""Clients go from 5 pods to 20: the pool has grown before the last of them is ready; what they wait is shown.

For comparison the same run with a size that was fixed for five, and with one that only reacts to what is measured.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from tests.cluster import programs, workloads
from tests.cluster.pools import KIND, Namespace, Object, pool
from tests.localcluster import traffic
from tests.localcluster.waiting import let_pass, until

FEW, MANY, MOST = 5, 20, 24
CLIENTS = "web"
WATCHED = 20.0  # seconds of the account after the last client is ready
WORKLOADS: Object = {"clients": {"workloads": [{"kind": "Deployment", "name": CLIENTS}]}}
MODES: dict[str, Object] = {
    "workloads": {"serverConnections": {"max": MOST, "sizing": {"mode": "Workloads", "perClientReplica": 1}}}
    | WORKLOADS,
    "fixed": {"serverConnections": {"max": FEW}},
    "reactive": {"serverConnections": {"max": MOST, "sizing": {"mode": "Demand"}}},
}


@dataclass(frozen=True, slots=True)
class Course:
    """Seconds after the scaling: until the last client was ready, and until the pods held enough, None for never."""

    ready: float
    capacity: float | None
    worst: float


def confirmed(here: Namespace, name: str) -> int:
    """Connections that the pool's pods may hold, by their own word."""
    return sum(int(json.loads(here.state(pod))["cap"]) for pod in here.pods(name))


def size(here: Namespace, name: str) -> int:
    return int(here.get(KIND, name)["status"]["serverConnections"]["size"])


def scaled(here: Namespace, name: str) -> Course:
    """Scale the clients, and see what comes when."""
    began = time.monotonic()
    here.kubectl("scale", "deployment", CLIENTS, f"--replicas={MANY}")
    all_ready = capacity = None
    deadline = began + 180
    while all_ready is None and time.monotonic() < deadline:
        if capacity is None and confirmed(here, name) >= MANY:
            capacity = time.monotonic() - began
        if workloads.ready(here, CLIENTS) == MANY:
            all_ready = time.monotonic() - began
    assert all_ready is not None, f"only {workloads.ready(here, CLIENTS)} of {MANY} clients became ready"
    let_pass(WATCHED)
    return Course(all_ready, capacity, waits(here))


def waits(here: Namespace) -> float:
    """The worst p99 that any pod of the clients has seen, in seconds."""
    accounts = workloads.accounts(here, CLIENTS)
    assert not [each for each in accounts if each["failed"]]
    return max((each["p99"] or 0.0 for each in accounts), default=0.0)


@pytest.fixture(params=list(MODES))
def name(request: pytest.FixtureRequest, here: Namespace) -> Iterator[str]:
    """A pool of that mode with five clients at work, and nothing of it afterwards."""
    chosen: str = request.param
    here.apply(pool(chosen, FEW))
    here.wait_ready(chosen)
    here.wait(lambda: size(here, chosen) == FEW, "a size for few")
    here.patch(chosen, **MODES[chosen])  # demand goes on from the size in force
    here.wait_ready(chosen)
    programs.prepare(here, f"{chosen}-connection")
    here.apply(workloads.deployment(here, CLIENTS, f"{chosen}-connection", FEW))
    until(lambda: "" if workloads.ready(here, CLIENTS) == FEW else f"{FEW} clients at work", 120)
    yield chosen
    workloads.remove(here, CLIENTS)
    here.delete(chosen)


def test_capacity_is_in_place_before_the_last_new_client_is_ready(
    here: Namespace, name: str, say: Callable[[str], None]
) -> None:
    if name == "workloads":
        here.wait(lambda: size(here, name) == FEW, "one connection for each of five clients")
    counted = traffic.census(here.site, here.name)
    try:
        course = scaled(here, name)
    finally:
        counted.stop()
    when = "never" if course.capacity is None else f"after {course.capacity:.1f} s"
    say(
        f"{name}: {FEW} to {MANY} clients, the last ready after {course.ready:.1f} s; {MANY} connections allowed "
        f"{when}; a client's worst p99 {1000 * course.worst:.0f} ms; PostgreSQL counted at most {counted.peak}"
    )
    assert 0 < counted.peak <= MOST
    if name == "workloads":
        assert course.capacity is not None
        assert course.capacity <= course.ready
        status = here.get(KIND, name)["status"]
        assert status["recommendation"]["value"] == status["serverConnections"]["size"] == MANY
        here.kubectl("scale", "deployment", CLIENTS, f"--replicas={FEW}")
        here.wait(lambda: size(here, name) == FEW and confirmed(here, name) <= FEW, "what is not needed is given back")
