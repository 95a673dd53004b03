"""Watches: kopf lists, watches and reconnects, and every event goes to one function. The only module that imports kopf.

Kopf writes nothing here: no annotations, finalizers or status, and it has no change handlers and no daemons. Its
handlers that track an object's state send 1 to 3 PATCH requests for each change, and skip the states in between.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Literal

import kopf
from kopf._cogs.structs.credentials import Vault  # an argument of kopf.operator(), which kopf does not export
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory  # as above

from pgbouncer_operator.kube.resources import Resource

logger = logging.getLogger(__name__)

TOKEN_LIFE = timedelta(minutes=30)
STOP_SECONDS = 5.0  # to wait for a thread of watches

# Receives an event: the kind, the object, and whether the object was deleted. Called in the thread of the watches.
Deliver = Callable[[Resource, Mapping[str, Any], bool], None]


class _NoStorage(kopf.DiffBaseStorage, kopf.ProgressStorage):
    """Stores nothing on objects: only change handlers need what kopf stores there, and the operator has none."""

    def fetch(self, **_: Any) -> None:
        """Nothing is stored."""

    def store(self, **_: Any) -> None:
        """Store nothing."""

    def build(self, **_: Any) -> Any:
        """An empty base for kopf's comparison, which saves a deep copy of every object."""
        return {}

    def purge(self, **_: Any) -> None:
        """Remove nothing."""

    def touch(self, **_: Any) -> None:
        """Write nothing."""

    def clear(self, *, essence: Any) -> Any:
        """Return the object's part unchanged: it holds nothing of kopf."""
        return essence


class _NoMemories(ResourceMemories):
    """Keeps no record of objects: records serve handlers that the operator does not have, and 10,000 take 9 MB."""

    async def recall(self, raw_body: Any, **options: Any) -> ResourceMemory:
        """A new record for each call, which is not stored."""
        return await super().recall(raw_body, **{**options, "ephemeral": True})


class _EndlessBackoffs:
    """Pauses between retries in seconds, with jitter and without an end: kopf stops when its own list has ended."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def __iter__(self) -> Iterator[float]:
        ceiling = 0.2
        while True:
            yield ceiling * (0.5 + self._random.random() / 2)
            ceiling = min(10.0, ceiling * 2)


@dataclass(frozen=True, slots=True)
class Watch:
    """What kopf is to watch."""

    selectors: Mapping[Resource, str]
    """The kinds, each with its label selector; an empty selector means all objects."""
    namespaces: tuple[str, ...]
    """Namespaces to watch; empty for the whole cluster."""
    login: Callable[[Mapping[str, Any]], kopf.ConnectionInfo]
    """Returns address and credentials of the API server, from the arguments that kopf passes to a login handler."""
    connection: int = 0
    """Another number has the watches connect again."""


def registry(watch: Watch, deliver: Deliver) -> kopf.OperatorRegistry:
    """Kopf's registry with a login handler, and for each kind an event handler that calls `deliver`."""
    registered = kopf.OperatorRegistry()
    for resource in watch.selectors:
        _register(registered, resource, deliver)

    @kopf.on.login(registry=registered)
    def on_login(**options: Any) -> kopf.ConnectionInfo:
        return watch.login(options)

    return registered


def _register(registered: kopf.OperatorRegistry, resource: Resource, deliver: Deliver) -> None:
    group, _, version = resource.api_version.rpartition("/")

    @kopf.on.event(group, version, resource.plural, registry=registered, id=resource.plural)
    async def on_event(event: Any, **_: Any) -> None:
        deliver(resource, event["object"], event["type"] == "DELETED")


def settings(watch: Watch, random: Random) -> kopf.OperatorSettings:
    """Kopf's settings: no writes, retries without an end, and the label selectors of `watch`."""
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.persistence.diffbase_storage = _NoStorage()
    chosen.persistence.progress_storage = _NoStorage()
    chosen.networking.request_timeout = 20
    chosen.networking.connect_timeout = 5
    chosen.networking.error_backoffs = _EndlessBackoffs(random)
    chosen.queueing.idle_timeout = 0.2  # seconds that an object's task outlives its last event
    chosen.watching.chunk_size = 500
    chosen.watching.initial_streaming = False
    for resource, selector in watch.selectors.items():
        if selector:
            group, _, version = resource.api_version.rpartition("/")
            chosen.watching.label_selectors[group, version, resource.plural] = selector
    return chosen


def login_outside(options: Mapping[str, Any]) -> kopf.ConnectionInfo:
    """Address and credentials of the API server, from the kubeconfig that KUBECONFIG names.

    options: the arguments of kopf's login handler. Raises kopf.LoginError if the kubeconfig has no current context.
    """
    connection = kopf.login_with_kubeconfig(**options)
    if connection is None:
        raise kopf.LoginError("The kubeconfig has no current context. Choose one with `kubectl config use-context`.")
    return connection


def login_inside(credentials: Path, environment: Mapping[str, str]) -> kopf.ConnectionInfo:
    """Address and credentials of the API server inside a cluster, from the mounted service account.

    The token is read again every 30 minutes; kubelet renews it before its lifetime of an hour is over.
    Kopf's own login finds the API server through the cluster's DNS, which may fail; the environment cannot.
    """
    host = environment["KUBERNETES_SERVICE_HOST"]
    server = f"https://[{host}]" if ":" in host else f"https://{host}"
    return kopf.ConnectionInfo(
        server=f"{server}:{environment['KUBERNETES_SERVICE_PORT']}",
        ca_path=credentials / "ca.crt",
        scheme="Bearer",
        token=(credentials / "token").read_text().strip(),
        expiration=datetime.now(UTC) + TOKEN_LIFE,
    )


class Watcher:
    """Runs kopf in its own thread and event loop, because kopf cancels every task of its loop when it stops."""

    def __init__(self, watch: Watch, deliver: Deliver, random: Random) -> None:
        """Nothing is watched before `start`. `deliver` is called in the watcher's thread. random: jitter of retries."""
        self._watch = watch
        self._deliver = deliver
        self._random = random
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watches", daemon=True)

    def start(self) -> None:
        """Start the thread. A watcher starts once."""
        self._thread.start()

    def stop(self, timeout: float) -> Literal["stopped", "still running"]:
        """Ask the thread to end and wait for it, at most `timeout` seconds."""
        self._stop.set()
        self._thread.join(timeout)
        return "still running" if self._thread.is_alive() else "stopped"

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        """Run kopf again and again: some answers of the API server end it, such as an ERROR event in a stream."""
        handlers = registry(self._watch, self._deliver)
        backoffs = iter(_EndlessBackoffs(self._random))
        while not self._stop.is_set():
            try:
                asyncio.run(self._once(handlers))
            except Exception as error:
                logger.warning("The watches ended and start again", extra={"error": f"{type(error).__name__}: {error}"})
            if not self._stop.wait(next(backoffs)):
                handlers = registry(self._watch, self._deliver)

    async def _once(self, handlers: kopf.OperatorRegistry) -> None:
        """Run kopf until it ends. Its last task may open a session after kopf closed them all, so close them again."""
        vault = Vault()
        try:
            await kopf.operator(
                registry=handlers,
                settings=settings(self._watch, self._random),
                standalone=True,
                clusterwide=not self._watch.namespaces,
                namespaces=self._watch.namespaces,
                stop_flag=self._stop,
                vault=vault,
                memories=_NoMemories(),
            )
        except asyncio.CancelledError:
            pass  # the way kopf ends when its stop flag is set
        finally:
            await vault.close()


@dataclass(slots=True)
class Watches:
    """The watches of every kind that may be watched. They start again when what is to be watched changes."""

    deliver: Deliver
    watched: tuple[object, ...] = ()
    watcher: Watcher | None = None

    @property
    def alive(self) -> bool:
        """Whether the watches run."""
        return self.watcher is not None and self.watcher.alive

    async def follow(self, watch: Watch) -> None:
        """Watch exactly the kinds and namespaces of `watch`. Nothing happens if they are watched already."""
        watched = (tuple(watch.selectors), watch.namespaces, watch.connection)
        if watched == self.watched:
            return
        previous, self.watched = self.watcher, watched
        self.watcher = Watcher(watch, self.deliver, Random())
        self.watcher.start()
        if previous is not None:
            await asyncio.to_thread(previous.stop, STOP_SECONDS)

    async def stop(self) -> None:
        """Stop all watches."""
        if self.watcher is not None:
            await asyncio.to_thread(self.watcher.stop, STOP_SECONDS)
