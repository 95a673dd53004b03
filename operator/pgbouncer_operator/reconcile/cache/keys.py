"""Keys and names of pools and servers; the pool that an event concerns, and how soon it is reconciled. Pure."""

from dataclasses import dataclass

from pgbouncer_operator.reconcile.cache.views import ChildView, PodView, PoolView, ServerView

Key = tuple[str, str]  # namespace, name of the pool


@dataclass(frozen=True, slots=True, order=True)
class ServerKey:
    """A PostgresServer in the queue. Its type keeps it apart from a pool of the same name."""

    namespace: str
    name: str

    @property
    def plain(self) -> Key:
        """The key in the store."""
        return (self.namespace, self.name)


AnyKey = Key | ServerKey

# Events of one roll come in bursts. A short wait makes one reconcile of many events.
COALESCE = 0.05  # seconds


def name_of(view: PoolView | ServerView) -> str:
    """The object's name in statuses, ledgers and messages: `namespace/name`."""
    return f"{view.namespace}/{view.name}"


def key_of(name: str) -> Key:
    """The key of an object by its name in statuses and ledgers, `namespace/name`."""
    namespace, _, own = name.partition("/")
    return namespace, own


def pool_of(view: PoolView | ChildView | PodView) -> Key | None:
    """The pool that an object belongs to, by its label; None without that label."""
    if isinstance(view, PoolView):
        return (view.namespace, view.name)
    return (view.namespace, view.pool) if view.pool else None


def delay(view: object) -> float:
    """Seconds to wait for more events: none after a user's change."""
    return 0.0 if isinstance(view, PoolView | ServerView) else COALESCE
