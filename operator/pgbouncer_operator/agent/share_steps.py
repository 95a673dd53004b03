"""The steps from what a pod's PgBouncer runs to what it should run, and what each asks of PgBouncer. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pgbouncer_operator.agent.candidate import Candidate
from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent
from pgbouncer_operator.protocol.reasons import ReloadKind


def next_step(running: Candidate | None, wanted: Candidate, over: Mapping[str, int] | None) -> Candidate | None:
    """The configuration to install now on the way to `wanted`; None to wait.

    over: databases that hold more server connections than `running` allows, and how many; None while `running` is not
    verified.
    A database may get what another has given back, and no earlier: both together would pass the pod's cap. So the
    first step lowers shares. Raised shares follow as PgBouncer comes to keep to the lowered ones: it opens no
    connection for a database that holds more than its share.
    """
    if running is None or wanted.marker == running.marker:
        return wanted
    old, new = running.shares, wanted.shares
    if all(share <= old.get(name, 0) for name, share in new.items()):
        return wanted
    if any(share < old.get(name, share) for name, share in new.items()):
        return _with(running, {name: min(share, new.get(name, share)) for name, share in old.items()})
    if over is None:
        return None
    # The database that holds too many gets no more by being allowed what it holds; several together could.
    more = {name: new.get(name, share) if len(over) == 1 else share + 1 for name, share in old.items()}
    eased = {name: min(new.get(name, share), more[name]) if name in over else share for name, share in old.items()}
    if not over:
        return wanted
    raised = eased if eased != old else _raised(old, new, over)
    return None if raised == old else _with(running, raised)


def _raised(old: Mapping[str, int], new: Mapping[str, int], over: Mapping[str, int]) -> dict[str, int]:
    """The shares of `old` with what has been given back so far, the lowest first, up to those of `new`."""
    shares = dict(old)
    room = sum(new.values()) - sum(max(share, over.get(name, 0)) for name, share in old.items())
    while room > 0 and (behind := [name for name in old if name not in over and shares[name] < new.get(name, 0)]):
        shares[min(behind, key=shares.__getitem__)] += 1
        room -= 1
    return shares


def _with(running: Candidate, shares: Mapping[str, int]) -> Candidate:
    return replace(running, composition=replace(running.composition, shares=shares))


def taken_up(wanted: Candidate, limits: Mapping[str, int]) -> Candidate:
    """The first configuration to install beside a PgBouncer that runs already: no share is above its present limit.

    limits: by database, as PgBouncer shows them. A database that it does not serve starts with 1.
    """
    if all(share <= limits.get(name, 1) for name, share in wanted.shares.items()):
        return wanted
    shares = {name: min(share, limits.get(name, 1)) for name, share in wanted.shares.items()}
    return replace(wanted, composition=replace(wanted.composition, shares=shares))


def kind(running: Candidate | None, wanted: Candidate) -> ReloadKind:
    """Whether `wanted` needs new server connections besides a RELOAD.

    A lowered share alone does not: `Reloader` renews later, where a database still holds too many connections.
    """
    if running is None:
        return ReloadKind.START
    before, after = running.composition, wanted.composition
    # A RELOAD alone reads new certificates for clients; new connections use them.
    renewed = running.ca != wanted.ca or before.intent.server_tls != after.intent.server_tls
    if renewed or _databases_changed(before.databases, after.databases) or _settings_renew(before.intent, after.intent):
        return ReloadKind.RECONNECT
    return ReloadKind.RELOAD


def _databases_changed(before: Iterable[DatabaseIntent], after: Iterable[DatabaseIntent]) -> bool:
    """Whether an entry has changed, that of the lookup included.

    A RELOAD with another address closes logins to the server that are under way.
    """
    old = {each.name: replace(each, max=None) for each in before}
    return any(replace(each, max=None) != old.get(each.name, replace(each, max=None)) for each in after)


def _settings_renew(before: Intent, after: Intent) -> bool:
    changed = {key for key, _ in before.settings.items() ^ after.settings.items()}
    entries = (parameters.lookup(key) for key in changed)
    return any(each is not None and each.change is parameters.ChangeClass.RELOAD_RECONNECT for each in entries)


def removed(running: Candidate | None, wanted: Candidate) -> tuple[str, ...]:
    """The databases of `running` that `wanted` does not serve."""
    return () if running is None else tuple(sorted(running.shares.keys() - wanted.shares.keys()))
