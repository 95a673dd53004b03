"""A store of the objects of one kind, ordered by resource version.

Events, lists and the answers to writes arrive in any order. Resource versions of one kind are integers that can be
compared (https://kep.k8s.io/5504), so a store takes an object only if it is newer than the stored one.
"""

from collections.abc import Callable, Container, Hashable, Iterable
from typing import Generic, Protocol, TypeVar

Key = tuple[str, str]  # namespace, name


class Projection(Protocol):
    """The part of an object that is stored: a frozen dataclass with slots.

    Declare `resource_version` with `field(compare=False)`. A new version that changes nothing in the projection is then
    equal to the stored one, and causes no reconcile.
    """

    @property
    def namespace(self) -> str:
        """Empty for objects without a namespace."""

    @property
    def name(self) -> str:
        """The object's name."""

    @property
    def uid(self) -> str:
        """Distinguishes an object from a later object of the same name."""

    @property
    def resource_version(self) -> int:
        """Grows with every write to an object of the kind."""


P = TypeVar("P", bound=Projection)


def nothing(_: Projection) -> Iterable[Hashable]:
    """An empty index, for stores that are read by key only."""
    return ()


class Store(Generic[P]):
    """The objects of one kind by (namespace, name), with one reverse index.

    index: the values by which `find` finds an object, for example the key of its owner. Values of different meanings
    share the index when they are tagged, as in `("secret", key)`.
    """

    def __init__(self, index: Callable[[P], Iterable[Hashable]] = nothing) -> None:
        """The store is empty and has not been listed."""
        self._index = index
        self._items: dict[Key, P] = {}
        self._found_by: dict[Hashable, set[Key]] = {}
        self._deleted: dict[Key, int] = {}  # versions of deletions, against late events
        self._listed_at: int | None = None

    def __len__(self) -> int:
        """Number of stored objects."""
        return len(self._items)

    @property
    def synced(self) -> bool:
        """Whether the kind has been listed."""
        return self._listed_at is not None

    def get(self, key: Key) -> P | None:
        """The object of that key, or None."""
        return self._items.get(key)

    def keys(self) -> tuple[Key, ...]:
        """All keys, sorted."""
        return tuple(sorted(self._items))

    def find(self, value: Hashable) -> tuple[P, ...]:
        """The objects that the index lists under `value`, sorted by key."""
        return tuple(self._items[key] for key in sorted(self._found_by.get(value, ())))

    def put(self, item: P) -> bool:
        """Store `item` if it is newer than the stored object. Returns whether it differs from that object."""
        key = (item.namespace, item.name)
        stored = self._items.get(key)
        if stored is not None and item.resource_version <= stored.resource_version:
            return False
        if key in self._deleted:
            if item.resource_version <= self._deleted[key]:
                return False
            del self._deleted[key]
        if stored is not None:
            self._unindex(key, stored)
        self._items[key] = item
        for value in self._index(item):
            self._found_by.setdefault(value, set()).add(key)
        return item != stored

    def remove(self, key: Key, resource_version: int) -> bool:
        """Remove the object that left the watch at that version. Returns whether it was stored.

        It was deleted, or it left the selection by a change of its labels. In both cases the event has the version of
        that write (https://kubernetes.io/docs/reference/using-api/api-concepts/), so only what came back is newer.
        """
        stored = self._items.get(key)
        if stored is not None and stored.resource_version > resource_version:
            return False  # the event is late: the object has come back, or it is an earlier one of the same name
        self._deleted[key] = max(resource_version, self._deleted.get(key, -1))
        if stored is None:
            return False
        self._unindex(key, stored)
        del self._items[key]
        return True

    def forget(self, key: Key) -> None:
        """Drop an object that is not needed any more. It still exists, so a later event stores it again."""
        stored = self._items.pop(key, None)
        if stored is not None:
            self._unindex(key, stored)

    def replace(self, items: Iterable[P], listed_at: int, unlisted: Container[str] = ()) -> set[Key]:
        """Store a complete list of version `listed_at`. Returns the keys whose object differs from before.

        A list may be older than a stored object, which then stays, listed or not. But a list that is older than the
        list before shows that the cluster's data was restored from a backup: all that is stored is void.
        unlisted: namespaces that could not be listed, whose objects are unknown and stay.
        """
        if listed_at < (self._listed_at or 0):
            return self._start_again(items, listed_at)
        differing: set[Key] = set()
        present: set[Key] = set()
        for item in items:
            key = (item.namespace, item.name)
            present.add(key)
            if self.put(item):
                differing.add(key)
        for key in self._items.keys() - present:
            if key[0] not in unlisted and self.remove(key, listed_at):
                differing.add(key)
        self._forget_deleted()
        self._listed_at = max(listed_at, self._listed_at or 0)
        return differing

    def _start_again(self, items: Iterable[P], listed_at: int) -> set[Key]:
        """Store a list and forget everything else. Returns all keys of before and now."""
        before = set(self._items)
        for key in before:
            self.forget(key)
        self._deleted, self._listed_at = {}, None
        return before | self.replace(items, listed_at)

    def _forget_deleted(self) -> None:
        # Events and answers are late by seconds, and lists are minutes apart: records older than the last list can go.
        horizon = self._listed_at or 0
        self._deleted = {key: version for key, version in self._deleted.items() if version > horizon}

    def _unindex(self, key: Key, item: P) -> None:
        for value in self._index(item):
            keys = self._found_by[value]
            keys.discard(key)
            if not keys:
                del self._found_by[value]
