"""A configuration that PgBouncer refuses, or half a change, reaches no running PgBouncer; and it heals when mended."""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.cluster import console, operators, programs
from tests.cluster.pools import Namespace, pool

from pgbouncer_operator import naming

POOL = "refusing"
PODS, MOST = 2, 8
LOAD = ("--clients", "12", "--reconnecting", "4", "--think", "0.05")
REFUSED = {"server_tls_ciphers": "NO-SUCH-CIPHER"}
WAIT = "query_wait_timeout"


@pytest.fixture(scope="module")
def ready(here: Namespace) -> Namespace:
    here.apply(pool(POOL, MOST, replicas=PODS))
    here.wait_ready(POOL)
    return here


@pytest.fixture
def without_operator(ready: Namespace) -> Iterator[None]:
    """Nobody repairs what the test writes by hand."""
    with operators.absent(ready.site):
        yield


def write(here: Namespace, change: Callable[[dict[str, Any]], None]) -> str:
    """Change the configuration by hand, with a right hash, and tell the pods; the hash."""
    name = naming.config_map(POOL)
    intent = json.loads(here.get("configmap", name)["data"][naming.INTENT_KEY])
    change(intent)
    intent["hash"] = digest(intent)
    patch = {"data": {naming.INTENT_KEY: json.dumps(intent, indent=2, sort_keys=True)}}
    here.kubectl("patch", "configmap", name, "--type=merge", "--patch", json.dumps(patch))
    tell(here, intent["hash"])
    return str(intent["hash"])


def digest(intent: dict[str, Any]) -> str:
    everything = {key: value for key, value in intent.items() if key != "hash"}
    canonical = json.dumps(everything, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def tell(here: Namespace, configuration: str) -> None:
    """As the operator does: the hash to run, in an annotation, which also makes kubelet bring the files at once."""
    for each in here.pods(POOL):
        here.kubectl(
            "annotate", "pod", each["metadata"]["name"], "--overwrite", f"{naming.ANNOTATION_CONFIG}={configuration}"
        )


def states(here: Namespace) -> list[dict[str, Any]]:
    """Every pod's own word."""
    return [json.loads(here.state(each)) for each in here.pods(POOL)]


def reasons(here: Namespace) -> list[set[str]]:
    return [{problem["reason"] for problem in state["problems"]} for state in states(here)]


def spoil(intent: dict[str, Any]) -> None:
    """Two changes: a good one, and a value that only PgBouncer can judge, and refuses."""
    intent["settings"] |= {WAIT: 44, **REFUSED}


def test_a_line_that_pgbouncer_refuses_reaches_no_running_pgbouncer_and_is_named(
    ready: Namespace, say: Callable[[str], None]
) -> None:
    lives = ready.lives(POOL)
    settings = console.follow(ready, POOL, WAIT)
    try:
        settings.wait(lambda said: all(each[WAIT] == "30" for each in said), "the first settings")
        with programs.load(ready, f"{POOL}-connection", *LOAD) as running:
            with operators.absent(ready.site):
                write(ready, spoil)
                ready.wait(lambda: all("CandidateRefused" in each for each in reasons(ready)), "every pod refuses")
                words = [problem["message"] for state in states(ready) for problem in state["problems"]]
                before = running.account()["committed"]
                ready.wait(lambda: running.account()["committed"] > before + 100, "the pool serves on")
            say(f"refused: {words[0]}")
            ready.wait_ready(POOL)  # the operator is back and writes what the spec says
            account, rows = programs.finish(ready, running)
        assert all("cipher" in each for each in words), words
        assert {each[WAIT] for each in settings.said.values()} == {"30"}
    finally:
        settings.stop()
    assert not programs.trouble(account, rows)
    assert ready.lives(POOL) == lives
    assert not any(reasons(ready))


def test_the_condition_names_what_pgbouncer_refuses_and_the_pool_heals_when_it_is_mended(
    ready: Namespace, say: Callable[[str], None]
) -> None:
    lives = ready.lives(POOL)
    settings = console.follow(ready, POOL, WAIT)
    try:
        with programs.load(ready, f"{POOL}-connection", *LOAD) as running:
            ready.patch(POOL, parameters=REFUSED, timeouts={"queryWaitSeconds": 44})
            message = ready.wait_condition(POOL, "ConfigurationApplied", "False", "ConfigurationRefused")
            ready.wait_condition(POOL, "Stalled", "True")
            assert ready.serving(POOL) == PODS
            ready.patch(POOL, parameters=None)
            ready.wait_ready(POOL)
            settings.wait(lambda said: all(each[WAIT] == "44" for each in said), "what was good of the change")
            account, rows = programs.finish(ready, running)
            ready.patch(POOL, timeouts={"queryWaitSeconds": 30})
            ready.wait_ready(POOL)
    finally:
        settings.stop()
    say(f"refused: {message}")
    assert "cipher" in message
    assert not programs.trouble(account, rows)
    assert ready.lives(POOL) == lives


@pytest.mark.usefixtures("without_operator")
def test_half_a_change_waits_for_its_other_half(ready: Namespace) -> None:
    """The files are new and the annotation is old, and the other way round: the pod runs what it ran."""
    settings = console.follow(ready, POOL, WAIT)
    try:
        settings.wait(lambda said: all(each[WAIT] == "30" for each in said), "the first settings")
        tell(ready, "0123456789abcdef")
        ready.wait(lambda: all("HalfDelivered" in each for each in reasons(ready)), "every pod waits")
        assert {each[WAIT] for each in settings.said.values()} == {"30"}
        write(ready, lambda intent: intent["settings"].update({WAIT: 33}))
        settings.wait(lambda said: all(each[WAIT] == "33" for each in said), "the whole change")
        ready.wait(lambda: not any(reasons(ready)), "no problem is left")
    finally:
        settings.stop()
