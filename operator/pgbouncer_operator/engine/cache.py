"""What we know of the cluster: one store for each kind, ordered by resource version.

Events, lists and our own writes' answers arrive in any order. Resource versions of one kind are comparable integers
(KEP-5504, true in practice before), so a store takes only what is newer than what it knows.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, Protocol, TypeVar

Key = tuple[str, str]  # namespace, name


class Projection(Protocol):
    """The little we keep of an object: a frozen, slotted dataclass.

    Declare `resource_version` with `field(compare=False)`: then a new version that changes nothing we look at is equal
    to the old one and wakes nobody.
    """

    @property
    def namespace(self) -> str:
        """Empty for objects of the cluster."""

    @property
    def name(self) -> str:
        """The object's name."""

    @property
    def uid(self) -> str:
        """Tells an object from its successor of the same name."""

    @property
    def resource_version(self) -> int:
        """Grows with every write to the kind."""


P = TypeVar("P", bound=Projection)


def nothing(_: Projection) -> Iterable[Hashable]:
    """An index of nothing, for stores that nobody searches."""
    return ()


class Store(Generic[P]):
    """All known objects of one kind, by (namespace, name), with one reverse index.

    `index` names what an object is to be found by, for example its owner's key; the values of different indices can
    share it when they are tagged, as in `("secret", key)`.
    """

    def __init__(self, index: Callable[[P], Iterable[Hashable]] = nothing) -> None:
        """Make an empty store that has never been listed."""
        self._index = index
        self._items: dict[Key, P] = {}
        self._found_by: dict[Hashable, set[Key]] = {}
        self._buried: dict[Key, tuple[str, int]] = {}  # uid and version of what was deleted, against late news of it
        self._listed_at: int | None = None

    def __len__(self) -> int:
        """Number of known objects."""
        return len(self._items)

    @property
    def synced(self) -> bool:
        """Whether the kind has been listed once."""
        return self._listed_at is not None

    def get(self, key: Key) -> P | None:
        """The object of that key, if known."""
        return self._items.get(key)

    def keys(self) -> tuple[Key, ...]:
        """All known keys, sorted."""
        return tuple(sorted(self._items))

    def find(self, value: Hashable) -> tuple[P, ...]:
        """The objects that the index lists under `value`, sorted by key."""
        return tuple(self._items[key] for key in sorted(self._found_by.get(value, ())))

    def put(self, item: P) -> bool:
        """Take `item` if it is newer than what is known; say whether it differs from that."""
        key = (item.namespace, item.name)
        known = self._items.get(key)
        if known is not None and item.resource_version <= known.resource_version:
            return False
        if key in self._buried:
            uid, version = self._buried[key]
            if item.uid == uid or item.resource_version <= version:
                return False
            del self._buried[key]
        if known is not None:
            self._unindex(key, known)
        self._items[key] = item
        for value in self._index(item):
            self._found_by.setdefault(value, set()).add(key)
        return item != known

    def remove(self, key: Key, uid: str, resource_version: int) -> bool:
        """Forget the object with that uid, deleted at that version; say whether it was known."""
        known = self._items.get(key)
        if known is not None and known.uid != uid and known.resource_version > resource_version:
            return False  # the news is of a predecessor
        if resource_version >= self._buried.get(key, ("", -1))[1]:
            self._buried[key] = (uid, resource_version)
        if known is None:
            return False
        self._unindex(key, known)
        del self._items[key]
        return True

    def forget(self, key: Key) -> None:
        """Drop an object that nobody asks for any more. It is not deleted: the next news of it are taken again."""
        known = self._items.pop(key, None)
        if known is not None:
            self._unindex(key, known)

    def replace(self, items: Iterable[P], listed_at: int) -> set[Key]:
        """Take a complete list made at version `listed_at` and give the keys whose object differs from before.

        A list may be older than what is known (`resourceVersion=0`): such an object stays, whether listed or not.
        """
        differing: set[Key] = set()
        present: set[Key] = set()
        for item in items:
            key = (item.namespace, item.name)
            present.add(key)
            if self.put(item):
                differing.add(key)
        for key in self._items.keys() - present:
            known = self._items[key]
            if known.resource_version <= listed_at and self.remove(key, known.uid, listed_at):
                differing.add(key)
        self._exhume()
        self._listed_at = max(listed_at, self._listed_at or 0)
        return differing

    def _exhume(self) -> None:
        # A late answer to a write is seconds late, not two lists late: graves older than the last list can go.
        horizon = self._listed_at or 0
        self._buried = {key: grave for key, grave in self._buried.items() if grave[1] > horizon}

    def _unindex(self, key: Key, item: P) -> None:
        for value in self._index(item):
            keys = self._found_by[value]
            keys.discard(key)
            if not keys:
                del self._found_by[value]
