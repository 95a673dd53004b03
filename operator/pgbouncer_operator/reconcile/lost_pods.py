"""Pods that disappeared from the watch of pods: whether their objects still exist.

A pod leaves the watch when it is deleted, and also when it loses a label. In the second case it goes on to hold its
server connections. So the API server is asked for it by name: once if it is gone, and again and again while it exists.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube
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

    async def ask(self, kube: Kube, pool: Key, names: Mapping[str, str], now: float) -> Mapping[str, LostPod]:
        """What is known of these pods, by UID. A read that fails is no answer. now: monotonic seconds.

        names: by UID, the pod's name; empty while unknown: such a pod cannot be asked for and counts as gone. Pods of
        the pool that are not in it are forgotten.
        """
        before = self._answers.pop(pool, {})
        answers, reads = {}, 0
        for uid, name in names.items():
            last = before.get(uid)
            if _counts(last, now):
                answers[uid] = last
            elif reads < READS:
                answers[uid] = await _answer(kube, (pool[0], name, uid), now)
                reads += bool(name)
            else:
                answers[uid] = LostPod(name, Presence.UNKNOWN, now - ASK_AGAIN + LATER, "it was not asked for yet")
        if answers:
            self._answers[pool] = answers
        return answers


def _counts(last: LostPod | None, now: float) -> TypeGuard[LostPod]:
    """Whether this answer still counts."""
    return last is not None and (last.over or now - last.at < ASK_AGAIN)


async def _answer(kube: Kube, pod: tuple[str, str, str], now: float) -> LostPod:
    """What the API server says. pod: namespace, name and UID."""
    namespace, name, uid = pod
    if not name:
        return LostPod(name, Presence.GONE, now)
    try:
        view = projections.pod(await kube.get(PODS, namespace, name))
    except errors.NotFound:
        return LostPod(name, Presence.GONE, now)
    except errors.ApiError as error:
        return LostPod(name, Presence.UNKNOWN, now, str(error), isinstance(error, errors.Forbidden))
    if view.uid != uid:  # a later pod of this name
        return LostPod(name, Presence.GONE, now)
    return LostPod(name, Presence.ENDED if view.ended else Presence.EXISTS, now)
