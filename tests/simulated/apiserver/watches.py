"""Watch streams: history from a version on, then changes as they happen, bookmarks, and their ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.simulated.apiserver.kinds import Kind
from tests.simulated.apiserver.records import Change, Object
from tests.simulated.apiserver.selectors import Selector
from tests.simulated.apiserver.status import Refused
from tests.simulated.apiserver.storage import Storage


@dataclass(frozen=True, slots=True)
class Question:
    """What a client watches. `since` None: everything there is comes first, as ADDED."""

    kind: Kind
    namespace: str
    selector: Selector
    since: int | None
    bookmarks: bool = False
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """End the stream. `error`: a Status to send as the last event."""

    error: Object | None = None


@dataclass(slots=True, eq=False)
class Watch:
    """One open stream."""

    question: Question
    queue: asyncio.Queue[Change | Cut] = field(default_factory=asyncio.Queue)


class Watches:
    """All open streams of a storage."""

    def __init__(self, storage: Storage, bookmark_every: float) -> None:
        self._storage = storage
        self._bookmark_every = bookmark_every
        self._open: set[Watch] = set()
        storage.listeners.append(self._tell)

    def count(self, plural: str = "") -> int:
        """Open streams of a kind, or of all."""
        return sum(plural in ("", watch.question.kind.resource.plural) for watch in self._open)

    def end(self, plural: str = "", error: Object | None = None) -> None:
        """End the streams of a kind, or of all."""
        for watch in self._open:
            if plural in ("", watch.question.kind.resource.plural):
                watch.queue.put_nowait(Cut(error))

    async def stream(self, question: Question) -> AsyncIterator[bytes]:
        """Lines of a stream until it is cut or times out."""
        watch = Watch(question)
        self._open.add(watch)
        try:
            if self._too_old(question):
                yield _line("ERROR", Refused(410, "too old resource version").status())
                return
            for line in self._beginning(question):
                yield line
            async with asyncio.timeout(question.timeout):
                async for line in self._live(watch):
                    yield line
        except TimeoutError:
            return
        finally:
            self._open.discard(watch)

    def _too_old(self, question: Question) -> bool:
        return question.since is not None and question.since < self._storage.compacted[question.kind.resource.plural]

    def _beginning(self, question: Question) -> list[bytes]:
        if question.since is None:
            found = self._storage.find(question.kind.resource, question.namespace)
            return [_line("ADDED", body) for body in found if question.selector(body)]
        past = [
            change for change in self._storage.history[question.kind.resource.plural] if change.version > question.since
        ]
        return [line for change in past if (line := _seen(change, question)) is not None]

    async def _live(self, watch: Watch) -> AsyncIterator[bytes]:
        while True:
            try:
                item = await asyncio.wait_for(watch.queue.get(), self._bookmark_every)
            except TimeoutError:
                if watch.question.bookmarks:
                    yield self._bookmark(watch.question.kind)
                continue
            if isinstance(item, Cut):
                if item.error is not None:
                    yield _line("ERROR", item.error)
                return
            if (line := _seen(item, watch.question)) is not None:
                yield line

    def _bookmark(self, kind: Kind) -> bytes:
        metadata = {"resourceVersion": str(self._storage.version), "creationTimestamp": None}
        body = {"apiVersion": kind.resource.api_version, "kind": kind.resource.kind, "metadata": metadata}
        return _line("BOOKMARK", body)

    def _tell(self, kind: Kind, change: Change) -> None:
        for watch in self._open:
            if watch.question.kind is kind:
                watch.queue.put_nowait(change)


def _seen(change: Change, question: Question) -> bytes | None:
    """The change as this watcher sees it: entering the selection is ADDED, leaving it DELETED with the former content.

    So does the API server: https://github.com/kubernetes/apiserver/blob/master/pkg/storage/cacher/cache_watcher.go
    """
    if question.namespace not in ("", change.body["metadata"].get("namespace", "")):
        return None
    now = change.type != "DELETED" and question.selector(change.body)
    before = change.before is not None and question.selector(change.before)
    if not now and not before:
        return None
    if not now and change.type != "DELETED" and change.before is not None:
        version = change.body["metadata"]["resourceVersion"]
        return _line(
            "DELETED", {**change.before, "metadata": {**change.before["metadata"], "resourceVersion": version}}
        )
    return _line("MODIFIED" if now and before else "ADDED" if now else "DELETED", change.body)


def _line(type_: str, body: Object) -> bytes:
    return json.dumps({"type": type_, "object": body}).encode() + b"\n"
