"""The only place that knows kopf: its settings, its login, and one event handler for each kind.

Kopf carries list, watch and reconnect, nothing else: no annotations, finalizers or status writes of its own, no change
handlers, no daemons. research: kopf's state-tracking handlers cost 1 to 3 PATCHes for each change and lose events.
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
from kopf._cogs.structs.credentials import Vault  # kopf.operator() takes one and exports no other way to make it
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory  # the same

from pgbouncer_operator.kube.resources import Resource

logger = logging.getLogger(__name__)

TOKEN_LIFE = timedelta(minutes=30)

# What a watch brings: the kind, the object, and whether it is gone.
Deliver = Callable[[Resource, Mapping[str, Any], bool], None]


class _Nothing(kopf.DiffBaseStorage, kopf.ProgressStorage):
    """Keeps nothing: we have no change handlers, so kopf has nothing to remember on objects."""

    def fetch(self, **_: Any) -> None:
        """Nothing was stored."""

    def store(self, **_: Any) -> None:
        """Store nothing."""

    def build(self, **_: Any) -> Any:
        """No essence to compare: spares a deep copy of every object."""
        return {}

    def purge(self, **_: Any) -> None:
        """Nothing to purge."""

    def touch(self, **_: Any) -> None:
        """Nothing to touch."""

    def clear(self, *, essence: Any) -> Any:
        """Nothing to clear."""
        return essence


class _NoMemories(ResourceMemories):
    """Kopf's record of an object is for handlers that we do not have; 10,000 objects' records take 9 MB."""

    async def recall(self, raw_body: Any, **given: Any) -> ResourceMemory:
        """A new record each time, kept by nobody."""
        return await super().recall(raw_body, **{**given, "ephemeral": True})


class _Forever:
    """Backoffs without end, with jitter: kopf's own list ends after a minute, and the operator with it."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def __iter__(self) -> Iterator[float]:
        ceiling = 0.2
        while True:
            yield ceiling * (0.5 + self._random.random() / 2)
            ceiling = min(10.0, ceiling * 2)


@dataclass(frozen=True, slots=True)
class Watch:
    """What to watch: kinds with the label selector of each, and the namespaces, empty for all."""

    selectors: Mapping[Resource, str]
    namespaces: tuple[str, ...]
    login: Callable[[Mapping[str, Any]], kopf.ConnectionInfo]


def registry(watch: Watch, deliver: Deliver) -> kopf.OperatorRegistry:
    """Handlers that hand every event on, 1 line each."""
    registered = kopf.OperatorRegistry()
    for resource in watch.selectors:
        _register(registered, resource, deliver)

    @kopf.on.login(registry=registered)
    def on_login(**given: Any) -> kopf.ConnectionInfo:
        return watch.login(given)

    return registered


def _register(registered: kopf.OperatorRegistry, resource: Resource, deliver: Deliver) -> None:
    group, _, version = resource.api_version.rpartition("/")

    @kopf.on.event(group, version, resource.plural, registry=registered, id=resource.plural)
    async def on_event(event: Any, **_: Any) -> None:
        deliver(resource, event["object"], event["type"] == "DELETED")


def settings(watch: Watch, random: Random) -> kopf.OperatorSettings:
    """Kopf without its own writes, with retries that never end."""
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.persistence.diffbase_storage = _Nothing()
    chosen.persistence.progress_storage = _Nothing()
    chosen.networking.request_timeout = 20
    chosen.networking.connect_timeout = 5
    chosen.networking.error_backoffs = _Forever(random)
    chosen.queueing.idle_timeout = 0.2  # a task for each object of a burst must not linger
    chosen.watching.chunk_size = 500
    chosen.watching.initial_streaming = False
    for resource, selector in watch.selectors.items():
        if selector:
            group, _, version = resource.api_version.rpartition("/")
            chosen.watching.label_selectors[group, version, resource.plural] = selector
    return chosen


def login_outside(given: Mapping[str, Any]) -> kopf.ConnectionInfo:
    """Where the API server is and who we are, by the kubeconfig that KUBECONFIG names."""
    found = kopf.login_with_kubeconfig(**given)
    if found is None:
        raise kopf.LoginError("The kubeconfig has no current context. Choose one with `kubectl config use-context`.")
    return found


def login_inside(credentials: Path, environment: Mapping[str, str]) -> kopf.ConnectionInfo:
    """The same inside a cluster. A mounted token is read again before it expires (it lives an hour).

    kopf's own log-in of a service account asks the cluster's DNS for the API server; the environment does not fail.
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
    """Runs kopf in a thread and loop of its own: when kopf stops it cancels every task of its loop."""

    def __init__(self, watch: Watch, deliver: Deliver, random: Random) -> None:
        """`deliver` is called in kopf's thread."""
        self._watch = watch
        self._deliver = deliver
        self._random = random
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watches", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def stop(self, timeout: float) -> Literal["stopped", "still running"]:
        """Stop watching; wait at most `timeout` seconds for it."""
        self._stop.set()
        self._thread.join(timeout)
        return "still running" if self._thread.is_alive() else "stopped"

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        """Kopf ends on some answers of the API server (410 by status, an ERROR in a stream): then it starts anew."""
        handlers = registry(self._watch, self._deliver)
        backoffs = iter(_Forever(self._random))
        while not self._stop.is_set():
            try:
                asyncio.run(self._once(handlers))
            except Exception as error:
                logger.warning("Watching ended and starts anew", extra={"error": f"{type(error).__name__}: {error}"})
            if not self._stop.wait(next(backoffs)):
                handlers = registry(self._watch, self._deliver)

    async def _once(self, handlers: kopf.OperatorRegistry) -> None:
        """Until kopf ends. It closes its sessions before its last task has ended, which may open one more."""
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
            pass  # kopf ends so when it is told to stop
        finally:
            await vault.close()
