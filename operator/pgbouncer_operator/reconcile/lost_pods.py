"""Pods that disappeared from the watch of pods: whether their objects still exist.

A pod leaves the watch when it is deleted, and also when it loses a label. In the second case it goes on to hold its
server connections. So the API server is asked for it by name: once if it is gone, and again and again while it exists.
Where it has lost the pool's own label, its agent is asked, too, and may give connections back.
A ledger of an older version has no names. Its lost pods are found among all pods of the namespace, by UID.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube, Object, Selection
from pgbouncer_operator.kube.resources import PODS
from pgbouncer_operator.reconcile.cache import projections
from pgbouncer_operator.reconcile.cache.keys import Key
from pgbouncer_operator.reconcile.memory import ASK_AGAIN, LostPod, Presence

READS = 20  # in one look, whatever somebody wrote into the ledger
LATER = 1.0  # seconds until the others are asked for


@dataclass(slots=True)
class LostPods:
    """The last answer about each lost pod of each pool. Without it every pod counts as just lost."""

    _answers: dict[Key, Mapping[str, LostPod]] = field(default_factory=dict)
    """By pool and pod UID."""
    _listed: dict[Key, float] = field(default_factory=dict)
    """When all pods of the pool's namespace were listed last, in monotonic seconds."""

    async def ask(self, kube: Kube, pool: Key, names: Mapping[str, str], now: float) -> Mapping[str, LostPod]:
        """What is known of these pods, by UID. A read that fails is no answer. now: monotonic seconds.

        names: by UID, the pod's name; empty while unknown. Pods of the pool that are not in it are forgotten.
        """
        before = self._answers.pop(pool, {})
        answers, unnamed, reads = {}, [], 0
        for uid, given in names.items():
            last = before.get(uid)
            name = given or (last.name if last else "")
            if _counts(last, now):
                answers[uid] = last
            elif not name:
                unnamed.append(uid)
            elif reads < READS:
                answers[uid] = await _answer(kube, pool, (name, uid), now)
                reads += 1
            else:
                answers[uid] = _later(name, now)
        if unnamed:
            answers |= await self._find(kube, pool, frozenset(unnamed), now)
        elif not names:
            self._listed.pop(pool, None)
        if answers:
            self._answers[pool] = answers
        return answers

    async def _find(self, kube: Kube, pool: Key, uids: frozenset[str], now: float) -> Mapping[str, LostPod]:
        """What is known of pods without a name, by UID. The list may be long: it is read once in ASK_AGAIN seconds."""
        if now - self._listed.get(pool, -math.inf) < ASK_AGAIN:
            return {uid: _later("", now) for uid in uids}
        self._listed[pool] = now
        try:
            listing = await kube.list(PODS, Selection(pool[0]))
        except errors.ApiError as error:
            return {uid: LostPod("", Presence.UNKNOWN, now, str(error)) for uid in uids}
        bodies = {body["metadata"]["uid"]: body for body in listing.items if body["metadata"]["uid"] in uids}
        gone = LostPod("", Presence.GONE, now)
        return {uid: _there(pool, bodies[uid], now) if uid in bodies else gone for uid in uids}


def _counts(last: LostPod | None, now: float) -> TypeGuard[LostPod]:
    """Whether this answer still counts."""
    return last is not None and (last.over or now - last.at < ASK_AGAIN)


async def _answer(kube: Kube, pool: Key, pod: tuple[str, str], now: float) -> LostPod:
    """What the API server says. pod: name and UID."""
    name, uid = pod
    try:
        body = await kube.get(PODS, pool[0], name)
    except errors.NotFound:
        return LostPod(name, Presence.GONE, now)
    except errors.ApiError as error:
        return LostPod(name, Presence.UNKNOWN, now, str(error), isinstance(error, errors.Forbidden))
    if body["metadata"]["uid"] != uid:  # a later pod of this name
        return LostPod(name, Presence.GONE, now)
    return _there(pool, body, now)


def _there(pool: Key, body: Object, now: float) -> LostPod:
    """The answer about a pod whose object exists.

    A pod that has the pool's label and lost another one is still one of the Deployment's: its Service leads to it, and
    it has no successor, so it keeps what it holds.
    """
    pod = projections.pod(body, pool[1])
    if pod.ended:
        return LostPod(pod.name, Presence.ENDED, now)
    unlabelled = pod if projections.pool_label(body) != pool[1] and not pod.foreign else None
    return LostPod(pod.name, Presence.EXISTS, now, unlabelled=unlabelled)


def _later(name: str, now: float) -> LostPod:
    """The answer about a pod that is asked for in a later look."""
    return LostPod(name, Presence.UNKNOWN, now - ASK_AGAIN + LATER, "it was not asked for yet")
