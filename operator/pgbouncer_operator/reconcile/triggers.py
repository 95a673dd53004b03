"""Which pool an event is about, and whether it is worth a look. Pure."""

from pgbouncer_operator.reconcile.projections import ChildView, PodView, PoolView

Key = tuple[str, str]  # namespace, name of the pool

# Events of one roll come in bursts: a short wait makes one look of many.
COALESCE = 0.05  # seconds


def pool_of(view: PoolView | ChildView | PodView) -> Key | None:
    """The pool that an object belongs to, by its label; None for an object of nobody."""
    if isinstance(view, PoolView):
        return (view.namespace, view.name)
    return (view.namespace, view.pool) if view.pool else None


def delay(view: object) -> float:
    """Seconds to wait for more news: none after a user's change."""
    return 0.0 if isinstance(view, PoolView) else COALESCE
