"""One pod tries a changed configuration before the others get it. Pure: the observation decides the next step.

`current` and `candidate` are documents in the ConfigMap, `wanted` is the document of the spec. An annotation assigns
one of them to each pod. All state is in the cluster; without the operator's memory a candidate is tried once more.

| current | candidate | pods with the candidate | next step |
|---|---|---|---|
| wanted | any | any | remove the candidate, assign current to every pod |
| other | none, or another | none, or one | candidate := wanted; with less than two pods to compare current := wanted |
| other | another | two or more | the candidate is proven: current := candidate, candidate := wanted |
| other | wanted | none | assign it to one pod once every pod that answers runs current; after a failure, wait |
| other | wanted | one | wait for the verdict. Good: assign it to every pod that serves. Worse: take it back |
| other | wanted | two or more | once every pod that serves has confirmed it: current := wanted, remove the candidate |

New pods run current. A change that rolls replaces current at once: the roll has its own checks. Only when the change
also names another server does one pod try it first, and the roll waits: new pods would start to serve without a trial.
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
from pgbouncer_operator.reconcile.rollout.verdict import Judgement, Verdict, judge, refusal, unchanged
from pgbouncer_operator.resources.desired import Desired, digest_of

FIRST_PAUSE, LONGEST_PAUSE = 30.0, 300.0  # seconds until a failed candidate is tried again; doubled each time
ANSWER = 3.0  # seconds to wait for the answer of a pod that serves, before the pods that answer decide
TIDY = 10.0  # seconds that pods which run something else have to return to current before one tries the candidate
STUCK = 30.0  # seconds after which a proven candidate becomes current although a pod does not confirm it
FAILURES = {Reason.CONFIGURATION_REFUSED, Reason.CANARY_FAILED}


@dataclass(frozen=True, slots=True)
class Rollout:
    """One step of a change: the documents of the ConfigMap, and the one that each living pod is to run."""

    current: str
    """The document of pods that try nothing."""
    assigned: Mapping[str, str]
    """By pod UID, the hash of the document that the pod is to run."""
    candidate: str = ""
    """The document on trial; "" for none."""
    trying: frozenset[str] = field(default_factory=frozenset)
    """UIDs of pods that run, or are to run, a candidate that is not proven yet."""
    trial: Trial | None = None
    """The trial to remember; None without a candidate."""

    @property
    def failed(self) -> bool:
        """Whether the last trial of the candidate made its pod worse."""
        return self.trial is not None and self.trial.reason is not None

    @property
    def documents(self) -> dict[str, str]:
        """The ConfigMap's keys."""
        return {naming.INTENT_KEY: self.current} | ({naming.CANDIDATE_KEY: self.candidate} if self.candidate else {})


@dataclass(frozen=True, slots=True)
class _Scene:
    """The observation with the documents of the ConfigMap and of the spec."""

    observed: Observed
    current: str
    """As in the ConfigMap; "" when it has none."""
    candidate: str
    """As in the ConfigMap; "" when it has none."""
    wanted: str
    """The document of the spec."""
    digest: str
    """Hash of `wanted`."""

    @property
    def base(self) -> str:
        """Hash of `current`; "" when it cannot be read."""
        return digest_of(self.current)

    def assigned(self, digest: str) -> list[PodView]:
        """Living pods whose annotation names this hash."""
        return [pod for pod in self.observed.living if pod.config == digest]

    def running(self, pod: PodView) -> str:
        """Hash that the pod has confirmed; "" for a pod that has confirmed nothing or does not answer."""
        state = self.observed.states.get(pod.uid)
        return state.digest if state else ""

    def without_trial(self) -> Rollout:
        """The wanted document for every pod at once."""
        return Rollout(self.wanted, {pod.uid: self.digest for pod in self.observed.living})

    def rollout(self, trial: Trial, *chosen: PodView) -> Rollout:
        """The candidate for the chosen pods, current for all others."""
        assigned = {pod.uid: self.base for pod in self.observed.living} | {pod.uid: self.digest for pod in chosen}
        trying = {pod.uid for pod in self.observed.living if self.digest in {assigned[pod.uid], self.running(pod)}}
        return Rollout(self.current, assigned, self.wanted, frozenset(trying), trial)


def next_rollout(observed: Observed, wanted: Desired) -> Rollout:
    """The next step of a change; without a change, current for every pod."""
    text, digest = wanted.config_map["data"][naming.INTENT_KEY], wanted.intent.digest
    data = observed.config_map_data
    scene = _Scene(observed, data.get(naming.INTENT_KEY, ""), data.get(naming.CANDIDATE_KEY, ""), text, digest)
    if scene.base in {"", digest}:
        return scene.without_trial()
    trial = _trial(scene)
    if scene.candidate != text:
        if respecified(observed, wanted) and not _moves(scene.current, text):
            return scene.without_trial()
        before = digest_of(scene.candidate)
        proven = {scene.base, before} - {""}
        if before and len(scene.assigned(before)) > 1:
            scene = replace(scene, current=scene.candidate)
        comparable = sum(scene.running(pod) in proven for pod in observed.living)
        silent = sum(pod.ready and observed.states.get(pod.uid) is None for pod in observed.living)
        if comparable < 2 <= comparable + silent and observed.now - trial.since < ANSWER:
            assigned = {pod.uid: scene.base for pod in observed.living}
            return Rollout(scene.current, assigned, data.get(naming.CANDIDATE_KEY, ""), trial=trial)
        if comparable < 2:
            return scene.without_trial()
    return _with_candidate(scene, trial)


def _moves(before: str, after: str) -> bool:
    """Whether the change names another server, and needs no volume that the pods lack."""
    try:
        old, new = (json.loads(text) for text in (before, after))
        return _servers(old) != _servers(new) and _needs(old) == _needs(new)
    except (ValueError, KeyError, TypeError):
        return False


def _servers(intent: Any) -> set[tuple[object, ...]]:
    """Host, port and TLS mode of each database's server."""
    return {(each["host"], each["port"], intent["server_tls"]["mode"]) for each in intent["databases"]}


def _needs(intent: Any) -> tuple[object, ...]:
    """What a pod must have mounted for this configuration."""
    return intent["server_tls"]["ca"], "client_tls" in intent, "auth_query" in intent


def _trial(scene: _Scene) -> Trial:
    """The trial of this candidate, as it is remembered. Another candidate, or other inputs, cause a new try at once."""
    reading = scene.observed.memory.reading
    secrets = f"{reading.version} {reading.refresh}" if reading else ""
    inputs = (scene.observed.view.generation, secrets)
    trial = scene.observed.memory.trial
    if trial is None or trial.digest != scene.digest:
        conditions = scene.observed.status.conditions or ()
        sound = any(each.type is ConditionType.BACKEND_REACHABLE and each.status == "True" for each in conditions)
        return Trial(scene.digest, inputs, scene.observed.now, sound=sound)
    if trial.again is not None and (trial.inputs != inputs or scene.observed.now >= trial.again):
        failures = trial.failures if trial.inputs == inputs else 0
        return replace(trial, inputs=inputs, since=scene.observed.now, again=None, failures=failures)
    return replace(trial, inputs=inputs)


def _with_candidate(scene: _Scene, trial: Trial) -> Rollout:
    """The next step of the wanted document as candidate."""
    observed, assigned = scene.observed, scene.assigned(scene.digest)
    serves = any(pod.ready or scene.running(pod) for pod in observed.living)
    if not serves and not _refused_before(scene, trial):
        return scene.without_trial()  # no pod serves, so that it cannot make anything worse
    if trial.again is not None:
        return scene.rollout(trial)
    if not assigned:
        chosen = _choose(scene, trial)
        if not chosen:
            return scene.rollout(trial)
        if not all((state := observed.states.get(pod.uid)) and state.candidates for pod in chosen):
            return scene.without_trial()
        sound = any(state.backend.ok for pod in observed.living if (state := observed.states.get(pod.uid)))
        return scene.rollout(replace(trial, since=observed.now, sound=sound or trial.sound), *chosen)
    return _after_verdict(scene, trial, assigned[0]) if len(assigned) == 1 else _spread(scene, trial, assigned)


def _choose(scene: _Scene, trial: Trial) -> list[PodView]:
    """The pod that tries the candidate, or none yet.

    That is the first ready pod by name, once every pod that answers runs current without a refusal. After `TIDY`
    seconds it is the best of the pods that answer.
    """
    observed = scene.observed
    answering = [(pod, state) for pod in observed.living if (state := observed.states.get(pod.uid)) is not None]
    clean = {pod.uid: state.digest == scene.base and not refusal(state) for pod, state in answering}
    # A pod that runs the candidate already has yet to return to current.
    able = [pod for pod, state in answering if state.digest not in {"", scene.digest}]
    supporting = {pod.uid for pod, state in answering if state.candidates}
    rank = {pod.uid: (pod.uid not in supporting, not pod.ready or not clean[pod.uid]) for pod in able}
    best = sorted(able, key=lambda pod: (rank[pod.uid], pod.name))[:1]
    tidy = all(clean[pod.uid] for pod, state in answering if state.digest) and all(pod.ready for pod in best)
    return best if tidy or observed.now - trial.since >= TIDY else []


def _after_verdict(scene: _Scene, trial: Trial, pod: PodView) -> Rollout:
    """The step that follows from the verdict on the one pod that tries the candidate."""
    verdict = judge(scene.observed, pod, scene.base, trial)
    match verdict.judgement:
        case Judgement.WAIT:
            return scene.rollout(trial, pod)
        case Judgement.WORSE:
            return _take_back(scene, trial, verdict)
        case Judgement.CANNOT_TRY:
            return scene.without_trial()
        case Judgement.GOOD:
            return _spread(scene, trial, [pod])


def _spread(scene: _Scene, trial: Trial, assigned: list[PodView]) -> Rollout:
    """The candidate for every pod that serves; once all of them have confirmed it, it becomes current."""
    observed = scene.observed
    for pod in assigned:
        state = observed.states.get(pod.uid)
        verdict = refusal(state) if state and state.digest != scene.digest else None
        if verdict:
            return _take_back(scene, trial, replace(verdict, message=f"Pod {pod.name}: {verdict.message}"))
    serving = [pod for pod in observed.living if scene.running(pod)]
    lagging = [pod for pod in serving if scene.running(pod) != scene.digest]
    late = observed.now - trial.since >= STUCK
    if len(lagging) < len(serving) and (late or not lagging):
        return scene.without_trial()
    if late:
        message = f"0 of {len(assigned)} pods confirmed the new configuration within {STUCK:.0f} s"
        return _take_back(scene, trial, Verdict(Judgement.WORSE, Reason.CANARY_FAILED, message))
    return replace(scene.rollout(trial, *serving, *assigned), trying=frozenset())


def _take_back(scene: _Scene, trial: Trial, verdict: Verdict) -> Rollout:
    """Current for every pod, and a time for the next try."""
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
    """Whether this candidate made a pod worse, by the memory or, after a restart, by the pool's status."""
    if trial.reason is not None:
        return True
    status = scene.observed.status
    reported = status.configuration.hash if status.configuration else None
    return reported == scene.digest and any(
        each.type is ConditionType.CONFIGURATION_APPLIED and each.reason in FAILURES for each in status.conditions or ()
    )
