"""README's first pool, word for word, on a real cluster: what a newcomer sees from apply to delete."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.cluster.pools import KIND, Namespace
from tests.localcluster import demo

from pgbouncer_operator import naming

POOL = demo.POOL
SERVES_SECONDS = 120.0


@pytest.fixture(scope="module")
def before(here: Namespace) -> set[tuple[str, str]]:
    return here.inventory()


@pytest.fixture(scope="module")
def seconds(here: Namespace, before: set[tuple[str, str]]) -> float:
    """The example applied, and the seconds until it was Ready."""
    began = time.monotonic()
    here.apply(demo.example())
    here.kubectl("wait", f"{KIND}/{POOL}", "--for=condition=Ready", f"--timeout={SERVES_SECONDS:.0f}s")
    return time.monotonic() - began


def test_the_first_example_becomes_ready_and_serves(
    here: Namespace, seconds: float, say: Callable[[str], None]
) -> None:
    say(f"apply to Ready: {seconds:.1f} s")
    assert len(here.pods(POOL)) == 2
    here.wait(lambda: here.serving(POOL) == 2, "both pods in the Service")


@pytest.mark.usefixtures("seconds")
def test_one_line_of_get_says_whether_it_is_well(here: Namespace) -> None:
    here.wait(lambda: here.kubectl("get", "connectionpools").split()[-2] == "0", "nobody waits")
    heads, values = here.kubectl("get", "connectionpools").splitlines()
    assert heads.split() == ["NAME", "READY", "REASON", "PODS", "CONNECTIONS", "CLIENTS", "WAITING", "AGE"]
    name, ready, reason, pods, connections, clients, waiting, _age = values.split()
    assert (name, ready, reason, pods) == (POOL, "True", "Ready", "2/2")
    assert connections.endswith("/25")
    assert clients.isdecimal()
    assert waiting == "0"


@pytest.mark.usefixtures("seconds")
def test_the_wide_line_shows_mode_endpoint_and_image(here: Namespace) -> None:
    heads, values = here.kubectl("get", "connectionpools", "--output=wide").splitlines()
    assert heads.split()[-3:] == ["MODE", "ENDPOINT", "IMAGE"]
    mode, endpoint, image = values.split()[-3:]
    assert (mode, endpoint) == ("transaction", f"{POOL}.{here.name}.svc:6432")
    assert image == here.site.reference("pool")


@pytest.mark.usefixtures("seconds")
def test_describe_tells_the_story_by_conditions_and_events(here: Namespace) -> None:
    here.wait(lambda: "Ready is True" in here.kubectl("describe", KIND, POOL), "the event that it is Ready")
    told = here.kubectl("describe", KIND, POOL)
    _, _, events = told.partition("Events:")
    assert "2 of 2 pods serve; a login to PostgreSQL works." in told
    assert "Every user has a login and a password." in told
    assert "Warning" not in events, events


def test_kubectl_explains_every_field_of_spec(here: Namespace) -> None:
    told = here.kubectl("explain", f"{naming.SINGULAR}.spec", "--recursive")
    words = {line.split()[0] for line in told.splitlines() if line.strip()}
    fields = list(described(schema(here)["properties"]["spec"]))
    assert len(fields) > 60
    for name, description in fields:
        assert name in words
        assert len(description) >= 20, name


def schema(here: Namespace) -> dict[str, Any]:
    definition = json.loads(here.kubectl("get", "crd", f"{naming.PLURAL}.{naming.GROUP}", "--output=json"))
    found: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def described(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, child in node.get("properties", {}).items():
        yield name, child.get("description", "")
        yield from described(child)
    if "items" in node:
        yield from described(node["items"])


@pytest.mark.usefixtures("seconds")
def test_deleting_the_pool_leaves_nothing_behind(
    here: Namespace, before: set[tuple[str, str]], say: Callable[[str], None]
) -> None:
    assert here.inventory() > before
    began = time.monotonic()
    here.kubectl("delete", KIND, POOL)
    here.wait(lambda: here.inventory() == before, f"only {sorted(before)} left")
    say(f"delete to nothing left: {time.monotonic() - began:.1f} s")
