"""Change after change under load: proven by every pod's PgBouncer, no restart, no failed transaction.

kubelet looks after a pod at most once a second, so a change that follows another one closely waits for it, twice: the
first pod tries what the others get after it. Those that do not are told apart.
"""

import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from tests.campaign import length
from tests.cluster import console, programs, server
from tests.cluster.api import POOLS, SECRETS, Api, api
from tests.cluster.console import Followed, Said
from tests.cluster.pools import USER, Namespace, pool
from tests.localcluster.waiting import let_pass

from pgbouncer_operator import naming

POOL = "changes"
PODS, SMALL, LARGE = 3, 12, 16
CHANGES = length("PGBOUNCER_TEST_CHANGES", short=40, full=1000)
APART = (0.0, 1.5)  # seconds; changes come when they come, not in step with kubelet
CLOSE = 1.0  # seconds after the one before, from its proof on
SETTINGS = ("query_wait_timeout", "server_lifetime", "query_wait_notify", "default_pool_size")
LOADS = {
    "load": ("--clients", "32", "--reconnecting", "4", "--lifetime", "20", "--think", "0.03"),
    # A prepared statement does not outlive a change of the mode: in session mode PgBouncer does not know of it.
    "modal": ("--clients", "2", "--reconnecting", "2", "--think", "0.05"),
}
CONNECTIONS = {"load": f"{POOL}-connection", "modal": f"{POOL}-modal"}
SECRET = "spare-db"
SPARE = "CREATE ROLE spare LOGIN PASSWORD 'spare-0'; GRANT ALL ON DATABASE shop TO spare;"


@dataclass(slots=True)
class Wanted:
    """What the pool is to be: each change changes one thing."""

    number: int = 0
    began: float = 0.0
    most: int = LARGE
    modal: str = "transaction"
    extra: bool = False

    def databases(self) -> list[dict[str, Any]]:
        extra = [{"name": "extra", "backendName": "shop"}] if self.extra else []
        return [{"name": "shop"}, {"name": "modal", "backendName": "shop", "poolMode": self.modal}, *extra]


@dataclass(frozen=True, slots=True)
class Scene:
    """The pool, the way to change it, the listeners in its pods, and what it is to be."""

    here: Namespace
    api: Api
    settings: Followed
    logins: Followed
    wanted: Wanted

    def patch(self, **spec: Any) -> None:
        """Change the pool's spec; the change begins now."""
        self.wanted.began = time.monotonic()
        self.api.patch(POOLS, POOL, {"spec": spec})


def everywhere(**settings: str) -> Callable[[Sequence[Said]], bool]:
    """Every pod says these settings."""
    return lambda said: all({key: each.get(key) for key in settings} == settings for each in said)


def timeouts(scene: Scene) -> float:
    seconds = 30 + scene.wanted.number % 20
    scene.patch(timeouts={"queryWaitSeconds": seconds, "serverLifetimeSeconds": seconds * 60})
    wanted = everywhere(query_wait_timeout=str(seconds), server_lifetime=str(seconds * 60))
    return scene.settings.wait(wanted, "the timeouts")


def parameter(scene: Scene) -> float:
    seconds = str(5 + scene.wanted.number % 10)
    scene.patch(parameters={"query_wait_notify": int(seconds)})
    return scene.settings.wait(everywhere(query_wait_notify=seconds), "the parameter")


def size(scene: Scene) -> float:
    wanted = scene.wanted
    wanted.most = SMALL if wanted.most == LARGE else LARGE
    scene.patch(serverConnections={"max": wanted.most})

    def done(said: Sequence[Said]) -> bool:
        total = sum(int(each["default_pool_size"]) for each in said)
        return total <= SMALL if wanted.most == SMALL else SMALL < total <= LARGE

    return scene.settings.wait(done, f"grants for {wanted.most}")


def mode(scene: Scene) -> float:
    wanted = scene.wanted
    wanted.modal = "session" if wanted.modal == "transaction" else "transaction"
    scene.patch(databases=wanted.databases())
    return scene.settings.wait(everywhere(**{"databases.modal": f"postgres {wanted.modal} open"}), "the mode")


def database(scene: Scene) -> float:
    wanted = scene.wanted
    wanted.extra = not wanted.extra
    scene.patch(databases=wanted.databases())

    def done(said: Sequence[Said]) -> bool:
        return all(("open" in each.get("databases.extra", "")) == wanted.extra for each in said)

    return scene.settings.wait(done, "the database")


def password(scene: Scene) -> float:
    """Another password for the role that nobody uses just now: so two roles take turns without any loss."""
    new = f"spare-{scene.wanted.number}"
    server.sql(scene.here, f"ALTER ROLE spare PASSWORD '{new}'")
    scene.wanted.began = time.monotonic()
    scene.api.patch(SECRETS, SECRET, {"stringData": {"password": new}})
    scene.api.patch(POOLS, POOL, {"metadata": {"annotations": {naming.ANNOTATION_REFRESH: new}}})
    said = console.login(scene.logins, accepted=True, user="spare", password=new, dbname="shop")
    assert set(said.values()) == {""}, said
    return max(scene.logins.heard.values())


CHANGE: Sequence[Callable[[Scene], float]] = (timeouts, size, parameter, database, mode, password)


@pytest.fixture(scope="module")
def scene(here: Namespace) -> Iterator[Scene]:
    server.sql(here, SPARE)
    body = {"stringData": {"username": "spare", "password": "spare-0"}}
    here.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, **body})
    wanted = Wanted()
    entries = [
        {"name": name, "database": database, "user": "shop"}
        for name, database in zip(CONNECTIONS.values(), ("shop", "modal"), strict=True)
    ]
    users = [USER, {"name": "spare", "secretRef": {"name": SECRET}}]
    more = {"users": users, "databases": wanted.databases(), "connectionSecrets": entries}
    here.apply(pool(POOL, LARGE, replicas=PODS, **more))
    here.wait_ready(POOL)
    with contextlib.ExitStack() as stack:
        settings, logins = console.follow(here, POOL, *SETTINGS), console.logins(here, POOL)
        stack.callback(settings.stop)
        stack.callback(logins.stop)
        yield Scene(here, stack.enter_context(api(here)), settings, logins, wanted)


def test_every_change_is_proven_on_every_pod_and_no_transaction_fails(scene: Scene, say: Callable[[str], None]) -> None:
    here, chance, proven = scene.here, random.Random(1), 0.0
    lives = here.lives(POOL)
    taken: dict[str, list[float]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(programs.load(here, CONNECTIONS[name], *LOADS[name], name=name)) for name in LOADS]
        for number in range(1, CHANGES + 1):
            scene.wanted.number = number
            change = CHANGE[number % len(CHANGE)]
            let_pass(chance.uniform(*APART))
            before, proven = proven, change(scene)
            seconds = proven - scene.wanted.began
            close = scene.wanted.began - before < CLOSE
            for kind in ("all", "close to the one before" if close else "from rest", change.__name__):
                taken[kind].append(seconds)
        here.wait_ready(POOL)
        ended = [programs.finish(here, running) for running in loads]
    committed = sum(account["committed"] for account, _ in ended)
    failed = sum(account["failed"] + account["refused"] for account, _ in ended)
    clients = sum(int(each[1]) for each in LOADS.values())
    say(f"{CHANGES} changes on {PODS} pods under {clients} clients: {failed} of {committed} transactions failed")
    for kind, seconds_of in taken.items():
        median, most = programs.median(seconds_of), programs.percentile(seconds_of, 0.95)
        worst = max(seconds_of)
        say(f"  {kind}: {len(seconds_of)}, to proven p50 {median:.2f} s, p95 {most:.2f} s, worst {worst:.2f} s")
    for account, rows in ended:
        assert not programs.trouble(account, rows)
    assert committed > 50 * CHANGES
    assert here.lives(POOL) == lives
    told = here.get("connectionpool", POOL)["status"]["lastChange"]
    assert (told["how"], told["pods"]) == ("Reload", PODS)
