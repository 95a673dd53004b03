"""Which change is on its way to the pods, and when every pod has it. Pure."""

import json

from pgbouncer_operator import naming
from pgbouncer_operator.api.status import How, LastChange
from pgbouncer_operator.protocol.intent import Intent
from pgbouncer_operator.reconcile.memory import Change
from pgbouncer_operator.reconcile.observed import Observation, Observed
from pgbouncer_operator.reconcile.rollout.template import new_image, rolls
from pgbouncer_operator.resources.desired import Desired

# The parts of an intent besides its settings.
PARTS = ("databases", "users", "server_tls", "client_tls", "auth_query", "drain_seconds")
TEMPLATE = "pod template"


def track(observed: Observed, wanted: Desired) -> Observed:
    """The same look, remembering a change that begins now. A change on top of another counts from its own beginning."""
    begun = _roll(observed, wanted) or _reload(observed, wanted)
    if begun is None:
        return observed
    change = observed.memory.change
    if change is not None and (change.what, change.how) == (begun.what, begun.how):
        return observed
    if change is not None and change.how is begun.how is How.ROLL and begun.what == TEMPLATE:
        return observed  # the configuration is there already, and the roll waits for room
    return observed.remember(change=begun, pending_since=observed.now)


def arrived(change: Change, observed: Observation) -> LastChange:
    """The change for status.lastChange, once every pod has confirmed it."""
    seconds = max(0, round(observed.now - change.since))
    return LastChange(what=change.what, how=change.how, seconds=seconds, pods=len(observed.living), at=observed.today)


def _reload(observed: Observed, wanted: Desired) -> Change | None:
    """The change of the configuration that begins now; None while there is none."""
    child = observed.child(wanted.config_map)
    if child is None:
        return None
    before = child.data.get(naming.INTENT_KEY, "")
    if before == wanted.config_map["data"][naming.INTENT_KEY]:
        return None
    return Change(", ".join(_differences(before, wanted.intent)) or "configuration", How.RELOAD, observed.now)


def _roll(observed: Observed, wanted: Desired) -> Change | None:
    """The replacement of pods that begins now; None while there is none."""
    if not rolls(observed, wanted):
        return None
    what = ["image"] if new_image(observed, wanted) else []
    reload = _reload(observed, wanted)
    what += [reload.what] if reload else []
    return Change(", ".join(what) or TEMPLATE, How.ROLL, observed.now)


def _differences(before: str, after: Intent) -> list[str]:
    """Names of the settings and parts that differ between two configurations; never a value, which may be private."""
    try:
        old = json.loads(before)
    except ValueError:
        return []
    new = json.loads(after.to_json())
    settings = {*old.get("settings", {}), *new["settings"]}
    changed = [name for name in settings if old.get("settings", {}).get(name) != new["settings"].get(name)]
    return sorted(changed) + [part for part in PARTS if old.get(part) != new.get(part)]
