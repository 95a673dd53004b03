"""All pods of a pool leave at once: their successors serve while they drain, and no client that reconnects notices."""

import contextlib
from collections.abc import Callable, Iterator, Mapping

from tests.cluster import programs
from tests.cluster.pools import Namespace, pool
from tests.localcluster import traffic
from tests.localcluster.traffic import Running

from pgbouncer_operator import naming

MOST = 6  # connections of each pool
# Clients that stay keep the old pods for 30 s: longer than successors need.
DRAIN = {"timeoutSeconds": 25, "transactionSeconds": 5}
RECONNECTING = ("--clients", "8", "--think", "0.05", "--lifetime", "3")
IMMORTAL = ("--clients", "3", "--think", "0.05")


def delete_pods(here: Namespace, name: str) -> None:
    here.kubectl("delete", "pod", f"--selector={naming.LABEL_POOL}={name}", "--wait=false")


def delete_deployment(here: Namespace, name: str) -> None:
    here.kubectl("delete", "deployment", naming.deployment(name), "--wait=false")


# pool → its replicas, and what happens to it
EVENTS: Mapping[str, tuple[int, Callable[[Namespace, str], None]]] = {
    "one": (1, delete_pods),
    "two": (2, delete_pods),
    "deployment": (2, delete_deployment),
}


@contextlib.contextmanager
def loads(here: Namespace, arguments: tuple[str, ...], kind: str) -> Iterator[dict[str, Running]]:
    """Clients of one kind at every pool."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(programs.load(here, f"{name}-connection", *arguments, name=f"{kind}-{name}"))
            for name in EVENTS
        }


def uids(here: Namespace, name: str, ready: bool = False) -> set[str]:
    """The pool's pods, those that leave included; or those that are ready and stay."""
    found = here.all("pods", f"{naming.LABEL_POOL}={name}")
    if ready:
        found = [
            pod
            for pod in found
            if "deletionTimestamp" not in pod["metadata"]
            and any((each["type"], each["status"]) == ("Ready", "True") for each in pod["status"].get("conditions", ()))
        ]
    return {pod["metadata"]["uid"] for pod in found}


def test_successors_serve_while_the_old_pods_drain_and_nobody_is_refused(
    here: Namespace, say: Callable[[str], None]
) -> None:
    for name, (replicas, _) in EVENTS.items():
        here.apply(pool(name, MOST, replicas=replicas, drain=DRAIN))
    here.wait_ready(*EVENTS)
    before = {name: uids(here, name) for name in EVENTS}
    counted = traffic.census(here.site, here.name)
    try:
        with loads(here, RECONNECTING, "reconnecting") as reconnecting, loads(here, IMMORTAL, "immortal") as immortal:
            for name, (_, leave) in EVENTS.items():
                leave(here, name)
            for name, (replicas, _) in EVENTS.items():
                here.wait(
                    lambda name=name, replicas=replicas: len(uids(here, name, ready=True) - before[name]) == replicas,
                    f"the successors of {name} are ready",
                )
                assert before[name] <= uids(here, name), f"{name}: the old pods still drain"
            for name, old in before.items():
                here.wait(lambda name=name, old=old: not old & uids(here, name), f"the old pods of {name} are gone")
            here.wait_ready(*EVENTS)
            accounts = {name: programs.settled(each) for name, each in reconnecting.items()}
            stayed = {name: programs.settled(each) for name, each in immortal.items()}
    finally:
        counted.stop()
    committed = {name: each["committed"] for name, each in accounts.items()}
    say(f"{committed} transactions; PostgreSQL counted at most {counted.peak} of {MOST * len(EVENTS)}")
    failed = {name: each["failed"] + each["refused"] for name, each in accounts.items()}
    assert failed == dict.fromkeys(EVENTS, 0), accounts
    assert {name: each["refused"] for name, each in stayed.items()} == dict.fromkeys(EVENTS, 0), stayed
    assert all(each > 100 for each in committed.values())
    assert 0 < counted.peak <= MOST * len(EVENTS)
