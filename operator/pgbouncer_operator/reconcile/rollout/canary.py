"""A changed configuration is tried by one pod before the others hear of it. Pure: the course follows from what is seen.

`current` and `candidate` are the ConfigMap's documents, `wanted` is what the spec asks for, a pod is told a document by
its annotation. The state is in the cluster; a lost memory costs one more try.

| current | candidate | pods told the candidate | what is done |
|---|---|---|---|
| wanted | any | any | the candidate is removed, every pod is told current |
| other | none, or another | none, or one | candidate := wanted; with fewer than two pods to compare current := wanted |
| other | another | two or more | that one was proven: current := candidate, candidate := wanted |
| other | wanted | none | one pod is told, once every pod that answers runs current; after a failure: wait |
| other | wanted | one | its word is awaited; good: every pod that serves is told; worse: it is told current again |
| other | wanted | two or more | when all that serve have confirmed it: current := wanted, candidate removed |

Pods that are born meanwhile run current. A change that rolls replaces current at once: the roll itself is careful. Only
when it also leads to another server is that tried first, and the roll waits: new pods would serve without it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import ConditionType, Reason
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.reconcile.memory import Trial
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.rollout.template import respecified
from pgbouncer_operator.reconcile.rollout.verdict import Outcome, Verdict, judge, refusal, unchanged
from pgbouncer_operator.resources.desired import Desired, digest_of

FIRST_PAUSE, LONGEST_PAUSE = 30.0, 300.0  # seconds until a candidate that failed is tried again; doubled each time
ANSWER = 3.0  # seconds in which a pod that serves and does not answer may yet do so
TIDY = 10.0  # seconds in which pods that run something else may come back to current before one is told a candidate
STUCK = 30.0  # seconds after which a proven candidate becomes current although a pod does not follow
FAILURES = {Reason.CONFIGURATION_REFUSED, Reason.CANARY_FAILED}


@dataclass(frozen=True, slots=True)
class Rollout:
    """What the ConfigMap holds and which hash each living pod is told. candidate: "" for none.

    trying: uids of pods that run or are told what is not proven yet. trial: see Memory.
    """

    current: str
    tell: Mapping[str, str]
    candidate: str = ""
    trying: frozenset[str] = field(default_factory=frozenset)
    trial: Trial | None = None

    @property
    def failed(self) -> bool:
        """Whether the candidate made its pod worse when it was last tried."""
        return self.trial is not None and self.trial.reason is not None

    @property
    def documents(self) -> dict[str, str]:
        """The ConfigMap's keys."""
        return {naming.INTENT_KEY: self.current} | ({naming.CANDIDATE_KEY: self.candidate} if self.candidate else {})


@dataclass(frozen=True, slots=True)
class _Scene:
    """A look, with both documents of the ConfigMap and what is wanted; digests are "" for what cannot be read."""

    observed: Observed
    current: str
    candidate: str
    wanted: str
    digest: str

    @property
    def base(self) -> str:
        return digest_of(self.current)

    def told(self, digest: str) -> list[PodView]:
        return [pod for pod in self.observed.living if pod.config == digest]

    def running(self, pod: PodView) -> str:
        """Hash of what the pod has confirmed; "" for a pod that has confirmed nothing or does not answer."""
        state = self.observed.states.get(pod.uid)
        return state.digest if state else ""

    def direct(self) -> Rollout:
        return Rollout(self.wanted, {pod.uid: self.digest for pod in self.observed.living})

    def rollout(self, trial: Trial, *chosen: PodView) -> Rollout:
        """The candidate told to these, current to all others."""
        tell = {pod.uid: self.base for pod in self.observed.living} | {pod.uid: self.digest for pod in chosen}
        trying = {pod.uid for pod in self.observed.living if self.digest in {tell[pod.uid], self.running(pod)}}
        return Rollout(self.current, tell, self.wanted, frozenset(trying), trial)


def next_rollout(observed: Observed, wanted: Desired) -> Rollout:
    """The next step of a change, or what is at rest."""
    text, digest = wanted.config_map["data"][naming.INTENT_KEY], wanted.intent.digest
    child = observed.child(wanted.config_map)
    data = child.unpack().get("data", {}) if child else {}
    scene = _Scene(observed, data.get(naming.INTENT_KEY, ""), data.get(naming.CANDIDATE_KEY, ""), text, digest)
    if scene.base in {"", digest}:
        return scene.direct()
    trial = _trial(scene)
    if scene.candidate != text:
        if respecified(observed, wanted) and not _moves(scene.current, text):
            return scene.direct()
        before = digest_of(scene.candidate)
        known = {scene.base, before} - {""}
        if before and len(scene.told(before)) > 1:
            scene = replace(scene, current=scene.candidate)
        comparable = sum(scene.running(pod) in known for pod in observed.living)
        silent = sum(pod.ready and observed.states.get(pod.uid) is None for pod in observed.living)
        if comparable < 2 <= comparable + silent and observed.now - trial.since < ANSWER:
            tell = {pod.uid: scene.base for pod in observed.living}
            return Rollout(scene.current, tell, data.get(naming.CANDIDATE_KEY, ""), trial=trial)
        if comparable < 2:
            return scene.direct()
    return _try(scene, trial)


def _moves(before: str, after: str) -> bool:
    """Whether the server is another, for pods that have all that the new configuration needs mounted."""
    try:
        old, new = (json.loads(text) for text in (before, after))
        return _servers(old) != _servers(new) and _needs(old) == _needs(new)
    except (ValueError, KeyError, TypeError):
        return False


def _servers(intent: Any) -> set[tuple[object, ...]]:
    return {(each["host"], each["port"], intent["server_tls"]["mode"]) for each in intent["databases"]}


def _needs(intent: Any) -> tuple[object, ...]:
    return intent["server_tls"]["ca"], "client_tls" in intent, "auth_query" in intent


def _trial(scene: _Scene) -> Trial:
    """What is remembered of this candidate; another one, or other inputs, deserve a try at once."""
    reading = scene.observed.memory.reading
    secrets = f"{reading.version} {reading.refresh}" if reading else ""
    inputs = (scene.observed.view.generation, secrets)
    known = scene.observed.memory.trial
    if known is None or known.digest != scene.digest:
        conditions = scene.observed.status.conditions or ()
        sound = any(each.type is ConditionType.BACKEND_REACHABLE and each.status == "True" for each in conditions)
        return Trial(scene.digest, inputs, scene.observed.now, sound=sound)
    if known.again is not None and (known.inputs != inputs or scene.observed.now >= known.again):
        failures = known.failures if known.inputs == inputs else 0
        return replace(known, inputs=inputs, since=scene.observed.now, again=None, failures=failures)
    return replace(known, inputs=inputs)


def _try(scene: _Scene, trial: Trial) -> Rollout:
    observed, told = scene.observed, scene.told(scene.digest)
    serves = any(pod.ready or scene.running(pod) for pod in observed.living)
    if not serves and not _refused_before(scene, trial):
        return scene.direct()  # there is nothing that it could make worse
    if trial.again is not None:
        return scene.rollout(trial)
    if not told:
        chosen = _choose(scene, trial)
        if not chosen:
            return scene.rollout(trial)
        if not all((state := observed.states.get(pod.uid)) and state.candidates for pod in chosen):
            return scene.direct()
        sound = any(state.backend.ok for pod in observed.living if (state := observed.states.get(pod.uid)))
        return scene.rollout(replace(trial, since=observed.now, sound=sound or trial.sound), *chosen)
    return _hear(scene, trial, told[0]) if len(told) == 1 else _spread(scene, trial, told)


def _choose(scene: _Scene, trial: Trial) -> list[PodView]:
    """The first ready pod, by name, once no pod runs or complains of anything but current; after a while the best."""
    observed = scene.observed
    answering = [(pod, state) for pod in observed.living if (state := observed.states.get(pod.uid)) is not None]
    clean = {pod.uid: state.digest == scene.base and not refusal(state) for pod, state in answering}
    able = [pod for pod, state in answering if state.digest not in {"", scene.digest}]  # that one has yet to return
    knowing = {pod.uid for pod, state in answering if state.candidates}
    rank = {pod.uid: (pod.uid not in knowing, not pod.ready or not clean[pod.uid]) for pod in able}
    best = sorted(able, key=lambda pod: (rank[pod.uid], pod.name))[:1]
    tidy = all(clean[pod.uid] for pod, state in answering if state.digest) and all(pod.ready for pod in best)
    return best if tidy or observed.now - trial.since >= TIDY else []


def _hear(scene: _Scene, trial: Trial, pod: PodView) -> Rollout:
    verdict = judge(scene.observed, pod, scene.base, trial)
    match verdict.word:
        case Outcome.WAIT:
            return scene.rollout(trial, pod)
        case Outcome.WORSE:
            return _return(scene, trial, verdict)
        case Outcome.UNKNOWING:
            return scene.direct()
        case Outcome.GOOD:
            return _spread(scene, trial, [pod])


def _spread(scene: _Scene, trial: Trial, told: list[PodView]) -> Rollout:
    """Tell every pod that serves; when all have confirmed, the candidate becomes current."""
    observed = scene.observed
    for pod in told:
        state = observed.states.get(pod.uid)
        verdict = refusal(state) if state and state.digest != scene.digest else None
        if verdict:
            return _return(scene, trial, replace(verdict, message=f"{verdict.message} (pod {pod.name})"))
    serving = [pod for pod in observed.living if scene.running(pod)]
    lagging = [pod for pod in serving if scene.running(pod) != scene.digest]
    late = observed.now - trial.since >= STUCK
    if len(lagging) < len(serving) and (late or not lagging):
        return scene.direct()
    if late:
        message = f"none of {len(told)} pods that were told of it has confirmed it in {STUCK:.0f} s"
        return _return(scene, trial, Verdict(Outcome.WORSE, Reason.CANARY_FAILED, message))
    return replace(scene.rollout(trial, *serving, *told), trying=frozenset())


def _return(scene: _Scene, trial: Trial, verdict: Verdict) -> Rollout:
    pause = min(FIRST_PAUSE * 2**trial.failures, LONGEST_PAUSE)
    failed = replace(
        trial,
        failures=trial.failures + 1,
        again=scene.observed.now + pause,
        reason=verdict.reason,
        message=unchanged(verdict.message),
    )
    return scene.rollout(failed)


def _refused_before(scene: _Scene, trial: Trial) -> bool:
    """Whether this candidate made a pod worse, by our memory or, after a restart, by what we told of it."""
    if trial.reason is not None:
        return True
    status = scene.observed.status
    told = status.configuration.hash if status.configuration else None
    return told == scene.digest and any(
        each.type is ConditionType.CONFIGURATION_APPLIED and each.reason in FAILURES for each in status.conditions or ()
    )
