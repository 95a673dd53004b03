"""How a pod's grant is divided between its databases. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from pgbouncer_operator.pgbouncer import ini
from pgbouncer_operator.pgbouncer.composition import entries
from pgbouncer_operator.protocol import grants
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent

NO_DEMAND: Mapping[str, int] = {}


def divided(
    intent: Intent, removed: Sequence[DatabaseIntent], cap: int, demand: Mapping[str, int] = NO_DEMAND
) -> dict[str, int]:
    """The share of every database, at least 1. Their sum is at most the cap.

    removed: databases that are removed and still have clients; they keep their share where the cap has room for it.
    demand: server connections that a database can use, by name. What the others do not need goes where it is needed;
    without a demand every database has the same.
    Raises GrantsError when the cap is smaller than the number of databases.
    """
    staying = [(each.name, each.max) for each in entries(intent)]
    spare, kept = cap - len(staying) - len(removed), {}
    for each in removed:
        extra = max(0, min(spare, (each.max or 1) - 1))
        kept[each.name], spare = 1 + extra, spare - extra
    fixed = grants.split(cap - sum(kept.values()), staying)
    follows = movable(intent)
    moving = [(name, most) for name, most in staying if name in follows]
    moved = grants.split(sum(fixed[name] for name, _ in moving), moving, demand)
    return fixed | moved | kept


def movable(intent: Intent) -> frozenset[str]:
    """The databases whose shares follow their demand.

    In session mode a connection comes back only when its client leaves, which may be never. So the share of such a
    database stays as it is.
    """
    own = str(intent.settings.get("pool_mode", ini.defaults(0)["pool_mode"]))
    return frozenset(each.name for each in intent.databases if (each.pool_mode or own) != "session")


def lingering(intent: Intent, removed: Iterable[DatabaseIntent], cap: int) -> tuple[DatabaseIntent, ...]:
    """The removed databases for which the pod's cap has a connection, besides those of the intent."""
    staying = {each.name for each in intent.databases}
    room = max(0, cap - len(entries(intent)))
    return tuple(each for each in removed if each.name not in staying)[:room]
