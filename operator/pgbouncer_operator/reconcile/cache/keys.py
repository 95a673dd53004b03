"""Which pool an event is about, and whether it is worth a look. Pure."""

from dataclasses import dataclass

from pgbouncer_operator.reconcile.cache.views import ChildView, PodView, PoolView, ServerView

Key = tuple[str, str]  # namespace, name of the pool


@dataclass(frozen=True, slots=True, order=True)
class ServerKey:
    """A PostgresServer in the queue, which a pool of the same name must not be taken for."""

    namespace: str
    name: str

    @property
    def plain(self) -> Key:
        """The key of its store."""
        return (self.namespace, self.name)


AnyKey = Key | ServerKey

# Events of one roll come in bursts: a short wait makes one look of many.
COALESCE = 0.05  # seconds


def pool_of(view: PoolView | ChildView | PodView) -> Key | None:
    """The pool that an object belongs to, by its label; None for an object of nobody."""
    if isinstance(view, PoolView):
        return (view.namespace, view.name)
    return (view.namespace, view.pool) if view.pool else None


def delay(view: object) -> float:
    """Seconds to wait for more news: none after a user's change."""
    return 0.0 if isinstance(view, PoolView | ServerView) else COALESCE
