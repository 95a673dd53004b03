"""Clients' programs in pods of the `clients` image: what they print, and load that lasts as long as a test wants."""

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.cluster.pools import DEADLINE, Namespace, Object
from tests.cluster.server import SERVER, Rows, rows
from tests.localcluster import traffic
from tests.localcluster.problem import Problem
from tests.localcluster.waiting import until

LONG_SECONDS = 7200  # load ends when the test does


def pod(here: Namespace, name: str, command: Sequence[str], secret: str, keys: Mapping[str, str]) -> Object:
    """A pod that runs one command, with environment variables from the Secret's keys."""
    body = traffic.Traffic(name, 1, (), secret).manifest(0, here.site.reference("clients"))
    container = body["spec"]["containers"][0]
    container["command"] = list(command)
    container["env"] = [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for variable, key in keys.items()
    ]
    return {**body, "metadata": {"name": name, "labels": {"traffic": name}}}


def output(here: Namespace, body: Object, seconds: float = DEADLINE) -> str:
    """Run a pod to its end and give what it printed; Problem with its words when it failed."""
    name = body["metadata"]["name"]
    here.kubectl("delete", "pod", name, "--ignore-not-found")
    here.apply(body)

    def missing() -> str:
        phase = here.get("pod", name)["status"].get("phase")
        return "" if phase in {"Succeeded", "Failed"} else f"the end of pod {name}, which is {phase}"

    until(missing, seconds)
    said = here.kubectl("logs", name)
    if here.get("pod", name)["status"]["phase"] == "Failed":
        raise Problem(f"pod {name} failed:\n{said}")
    here.kubectl("delete", "pod", name, "--wait=false")
    return said


def values(here: Namespace, secret: str) -> dict[str, str]:
    """What a Secret holds."""
    data = here.get("secret", secret)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def prepare(here: Namespace, secret: str, verified: bool = False) -> None:
    """Make the table that load works on."""
    body = traffic.Traffic("prepare", 1, ("--prepare",), secret, verified=verified).manifest(
        0, here.site.reference("clients")
    )
    output(here, body)


def prepare_at(here: Namespace, host: str) -> None:
    """The same straight on another server that knows the login `shop`."""
    body = pod(
        here,
        "prepare",
        ("python3", "-m", "load.clients", "--prepare"),
        "shop-db",
        {"PGUSER": "username", "PGPASSWORD": "password"},
    )
    environment = {"DATABASE_URL": "postgresql:///shop", "PGHOST": host, "PGSSLMODE": "require"}
    body["spec"]["containers"][0]["env"] += [{"name": name, "value": value} for name, value in environment.items()]
    output(here, body)


@contextlib.contextmanager
def load(
    here: Namespace, secret: str, *arguments: str, name: str = "load", verified: bool = False
) -> Iterator[traffic.Running]:
    """Clients that work while the block runs, and have begun when it begins. Give each of several a name of its own."""
    prepare(here, secret, verified)
    lasting = (*arguments, "--seconds", str(LONG_SECONDS))
    running = traffic.start(here.site, here.name, traffic.Traffic(name, 1, lasting, secret, verified=verified))
    try:
        until(lambda: "" if running.latest and running.account()["committed"] else "a first transaction", DEADLINE)
        yield running
    finally:
        here.kubectl("delete", "pod", f"--selector=traffic={name}", "--wait=false", "--grace-period=0", "--force")


def settled(running: traffic.Running) -> dict[str, Any]:
    """The account of everything until now: two more lines of it have come, and it still goes on."""
    for _ in range(2):
        before = json.dumps(running.latest, sort_keys=True)
        until(lambda before=before: "" if json.dumps(running.latest, sort_keys=True) != before else "an account", 30)
    assert not running.finished
    return running.account()


def finish(here: Namespace, running: traffic.Running, *servers: str) -> tuple[dict[str, Any], Rows]:
    """End the load, its transactions too; what its clients were told, and what the servers together have of it."""
    account = running.finish()
    return account, rows(here, running, *(servers or (SERVER,)))


def trouble(account: Mapping[str, Any], found: Rows) -> str:
    """What clients saw going wrong, or what the server does not have as they were told; empty when all is well."""
    if (account["failed"], account["refused"], found.lost, found.more) == (0, 0, 0, 0):
        return ""
    return f"{account['failed']} failed, {account['refused']} refused, {account['errors']}; {found}"


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return percentile(values, 0.5)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so great a share of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
