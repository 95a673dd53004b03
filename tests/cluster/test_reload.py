"""Changes of settings under load: in force on every pod within a moment, no restart, no failed transaction."""

import random
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
from tests.cluster import console, programs
from tests.cluster.pools import Namespace, pool
from tests.localcluster.waiting import let_pass, until

POOL = "reload"
CHANGES = 20
# Changes come when they come. Back to back they would run in step with kubelet, which syncs a pod once a second then.
APART = (1.0, 2.0)  # seconds
LOAD = ("--clients", "40", "--think", "0.2")
SETTINGS = ("query_wait_timeout", "query_wait_notify")


@pytest.fixture(scope="module")
def settings(here: Namespace) -> Iterator[console.Settings]:
    here.apply(pool(POOL, 10))
    here.wait_ready(POOL)
    heard = console.follow(here, POOL, *SETTINGS)
    yield heard
    heard.stop()


def test_twenty_changes_under_load_are_proven_on_every_pod_without_a_restart(
    here: Namespace, settings: console.Settings, say: Callable[[str], None]
) -> None:
    lives = here.lives(POOL)
    with programs.load(here, f"{POOL}-connection", *LOAD) as running:
        taken = [change(here, settings, 31 + number) for number in range(CHANGES)]
        account = programs.settled(running)
    say(
        f"change to proven on both pods: median {programs.median(taken):.2f} s, worst {max(taken):.2f} s; "
        f"{account['failed'] + account['refused']} of {account['committed']} transactions failed"
    )
    assert (account["failed"], account["refused"], account["errors"]) == (0, 0, {})
    assert account["committed"] > 100 * CHANGES
    assert here.lives(POOL) == lives
    here.wait_ready(POOL)
    told = here.get("connectionpool", POOL)["status"]["lastChange"]
    assert told["how"] == "Reload"
    assert told["pods"] == 2


def change(here: Namespace, settings: console.Settings, value: int) -> float:
    """Change a typed field and a parameter at once; seconds until SHOW CONFIG says so on every pod."""
    wanted: Mapping[str, str] = {"query_wait_timeout": str(value), "query_wait_notify": str(value // 2)}
    let_pass(random.Random(value).uniform(*APART))
    began = time.monotonic()
    here.patch(
        POOL, timeouts={"queryWaitSeconds": value}, parameters={"query_wait_notify": int(wanted["query_wait_notify"])}
    )
    until(lambda: "" if settings.proven(wanted) else f"{wanted} on every pod: {settings.said}", 60, pause=0.02)
    proven = settings.proven(wanted)
    assert proven is not None
    return proven - began
