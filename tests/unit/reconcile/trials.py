"""Looks at a pool of three pods one of which tries a changed configuration."""

from dataclasses import replace
from typing import Any

from tests.unit.reconcile.looks import (
    PLATFORM,
    healthy,
    live,
    pod,
    pool,
    respecified,
    state,
    wanted,
)

from pgbouncer_operator import naming
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.rollout.canary import Rollout, next_rollout
from pgbouncer_operator.reconcile.specification import read
from pgbouncer_operator.resources.desired import desired, digest_of, redress

CHANGE: dict[str, Any] = {"backend": {"host": "moved"}}
OLD, NEW, OTHER = (wanted(**spec).intent for spec in ({}, CHANGE, {"backend": {"host": "elsewhere"}}))
FINE = {"ok": True, "reason": "", "message": ""}
UNTRIED = {"ok": None, "reason": "", "message": ""}
OUT = {"ok": False, "reason": "HostNotResolved", "message": "moved: no such host."}


def documents(observed: Observed, current: str, candidate: str = "") -> Observed:
    body = wanted().config_map
    data = {naming.INTENT_KEY: current} | ({naming.CANDIDATE_KEY: candidate} if candidate else {})
    view = live(redress(read(pool()), body, data))
    return replace(observed, children={**observed.children, (view.kind, view.name): view})


def scene(told: dict[str, str], candidate: str = "", **spec: Any) -> Observed:
    """A pool whose spec has changed; pods by uid with the hash that each was told, and all still run the old one."""
    observed = respecified(healthy(), **(spec or CHANGE))
    pods = tuple(pod(uid, digest) for uid, digest in told.items())
    return documents(
        replace(observed, pods=pods, states={uid: state(uid, OLD.digest) for uid in told}), OLD.to_json(), candidate
    )


def saying(observed: Observed, uid: str, digest: str, **words: Any) -> Observed:
    return replace(observed, states={**observed.states, uid: state(uid, digest, **words)})


def trying(**words: Any) -> Observed:
    """Pod a was told the candidate a while ago, b and c run the old one."""
    observed = scene({"a": NEW.digest, "b": OLD.digest, "c": OLD.digest}, NEW.to_json())
    begun = rollout_of(scene({"a": OLD.digest, "b": OLD.digest, "c": OLD.digest}))
    assert begun.trial
    observed = observed.remember(trial=replace(begun.trial, since=observed.now - 1.0))
    return saying(observed, "a", words.pop("digest", NEW.digest), **words)


def later(observed: Observed, seconds: float) -> Observed:
    return replace(observed, now=observed.now + seconds)


def rollout_of(observed: Observed) -> Rollout:
    return next_rollout(observed, desired(observed.spec, PLATFORM))


def hashes(found: Rollout) -> tuple[str, str]:
    return digest_of(found.current), digest_of(found.candidate)


def told(found: Rollout, digest: str = NEW.digest) -> set[str]:
    return {uid for uid, each in found.assigned.items() if each == digest}
