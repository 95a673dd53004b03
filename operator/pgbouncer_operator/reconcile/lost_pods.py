"""Pods that disappeared from the watch of pods: whether their objects still exist.

A pod leaves the watch when it is deleted, and also when it loses a label. In the second case it goes on to hold its
server connections. So the API server is asked for it by name: once if it is gone, and again and again while it exists.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.kube.resources import PODS
from pgbouncer_operator.reconcile.cache import projections
from pgbouncer_operator.reconcile.cache.keys import Key
from pgbouncer_operator.reconcile.memory import ASK_AGAIN, LostPod, Presence


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
        answers = {uid: await _latest(kube, before.get(uid), (pool[0], name, uid), now) for uid, name in names.items()}
        if answers:
            self._answers[pool] = answers
        return answers


async def _latest(kube: Kube, before: LostPod | None, pod: tuple[str, str, str], now: float) -> LostPod:
    """The answer that still counts, or a new one. pod: namespace, name and UID."""
    if before is not None and (before.over or now - before.at < ASK_AGAIN):
        return before
    namespace, name, uid = pod
    if not name:
        return LostPod(name, Presence.GONE, now)
    try:
        view = projections.pod(await kube.get(PODS, namespace, name))
    except errors.NotFound:
        return LostPod(name, Presence.GONE, now)
    except errors.ApiError as error:
        return LostPod(name, Presence.UNKNOWN, now, str(error))
    if view.uid != uid:  # a later pod of this name
        return LostPod(name, Presence.GONE, now)
    return LostPod(name, Presence.ENDED if view.ended else Presence.EXISTS, now)
