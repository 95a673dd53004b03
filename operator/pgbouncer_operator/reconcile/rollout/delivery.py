"""Pokes: annotations that name the configuration of a pod and make kubelet refresh its volumes at once. Pure.

kubelet refreshes a pod's volumes when the pod changes, and otherwise up to a minute later:
https://kubernetes.io/docs/concepts/configuration/configmap/#mounted-configmaps-are-updated-automatically
It watches Pods and ConfigMaps apart, so a refresh may still bring the old ConfigMap. A pod that does not follow gets
another poke, with another value: an equal value changes nothing.
"""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.protocol.reasons import ProblemReason
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.cache import endpoints
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.reconcile.observed import Observation
from pgbouncer_operator.reconcile.pause import obeyed
from pgbouncer_operator.reconcile.steps import Action, Step

FOLLOW_SECONDS = 1.5  # seconds that a pod has to follow before the next poke; delivery takes 0.24 to 0.45 s
NODES_FOLLOW_SECONDS = 120.0  # after a move kube-proxy follows within that; agents renew again for as long
TROUBLED_FOLLOW_SECONDS = 15.0  # the same for a pod that reports why it cannot follow: another poke rarely helps
# Another delivery would not help: the configuration arrived, or the pod cannot read what arrived.
DELIVERED = {ProblemReason.CANDIDATE_REFUSED, ProblemReason.MOUNT_UNREADABLE}


def pokes(
    observed: Observation, assigned: Mapping[str, str], grants: Grants
) -> tuple[tuple[Step, ...], dict[str, tuple[str, float]]]:
    """Patches for pods whose annotations are out of date, or that do not follow; and the pokes to remember.

    assigned: by UID of each living pod, the hash of the configuration that the pod is to run.
    """
    steps, memory = _unlabelled_pokes(observed, grants)
    for pod in observed.living:
        digest = assigned[pod.uid]
        last = observed.memory.poked.get(pod.uid)
        value = _value(observed, pod, digest, grants)
        renewal = _renewal(observed, pod, poked=value is not None)
        if value is not None:
            memory[pod.uid] = (value, observed.now)
        elif last:
            memory[pod.uid] = last
        annotations = {naming.ANNOTATION_CONFIG: digest, naming.ANNOTATION_POKE: value} if value is not None else {}
        if renewal is not None:
            annotations[naming.ANNOTATION_RECONNECT] = renewal
        if not annotations:
            continue
        steps.append(_patch(pod, annotations, resourceVersion=str(pod.resource_version)))
    return tuple(steps), memory


def _patch(pod: PodView, annotations: Mapping[str, str], **preconditions: str) -> Step:
    """The patch of a pod's annotations.

    Through the status subresource the spec cannot be touched, so the operator needs no right to change pods.
    """
    metadata = {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid, **preconditions}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "annotations": annotations}}
    return Step(Action.PATCH, body, subresource="status")


def _unlabelled_pokes(observed: Observation, grants: Grants) -> tuple[list[Step], dict[str, tuple[str, float]]]:
    """The same for pods without the pool's label that answer: they follow the ledger, and keep their configuration.

    What was read of such a pod is some seconds old, so that its version would often be refused: the patch has none. A
    late one only makes kubelet refresh the volumes. The last poke comes from memory, for the same reason.
    """
    steps, memory = [], {}
    for uid, state in observed.unlabelled_states.items():
        pod, last = observed.lost[uid].unlabelled, observed.memory.poked.get(uid)
        if pod is None or state is None or pod.terminating or uid not in grants.pods:
            continue
        digest = state.digest or ""
        value = _value(observed, replace(pod, config=digest, poke=last[0] if last else pod.poke), digest, grants)
        if value is not None:
            memory[uid] = (value, observed.now)
            steps.append(_patch(pod, {naming.ANNOTATION_POKE: value}))
        elif last:
            memory[uid] = last
    return steps, memory


def follows(state: AgentState | None, digest: str, seq: int) -> bool:
    """Whether the pod has applied and verified this configuration and the ledger up to this sequence."""
    return state is not None and state.digest == digest and state.seq >= seq


def refreshed(poke: str, asked: str) -> bool:
    """Whether a pod's annotation has the mark of this refresh. asked: the value of the pool's annotation."""
    return _refresh(asked) in _parse(poke)[1].split(".")


def told_seq(pod: PodView) -> int:
    """The round of the ledger in the pod's annotation; 0 when it has none."""
    return max(0, _parse(pod.poke)[0])


def _value(observed: Observation, pod: PodView, digest: str, grants: Grants) -> str | None:
    """The annotation's next value `<seq>-<news>-<attempt>`; None when the pod needs no poke now.

    A round of the ledger that changes nothing for a pod needs no poke: the pod obeys it already.
    """
    seq, due = grants.seq, grants.concerning(pod.uid)
    last_seq, last_news, attempt = _parse(pod.poke)
    news = _news(observed, last_news)
    if pod.config != digest or not due <= last_seq <= seq or last_news != news:
        return f"{seq}-{news}-0"
    state = observed.states.get(pod.uid) or observed.unlabelled_states.get(pod.uid)
    if state is None or (follows(state, digest, due) and obeyed(observed.pause, state) and not observed.owes(pod.uid)):
        return None
    last = observed.memory.poked.get(pod.uid)
    patience = TROUBLED_FOLLOW_SECONDS if any(each.reason in DELIVERED for each in state.problems) else FOLLOW_SECONDS
    if last and observed.now - last[1] < patience * min(2**attempt, 16):
        return None
    return f"{seq}-{news}-{attempt + 1}"


def _news(observed: Observation, last: str) -> str:
    """What pods have to read besides: `<credentials>[.r<refresh>][.p<end of a pause>]`.

    Each part changes with its content. last: the value in the pod's annotation; its parts stay while Secrets are not
    read, and after a refresh is over.
    """
    last_credentials, *rest = last.split(".")
    credentials = observed.credentials.version if observed.credentials else last_credentials or _last_read(observed)
    asked = observed.view.refresh
    refresh = _refresh(asked) if asked else next((e for e in rest if e[:1] == "r"), "")
    pause = f"p{observed.pause.until}" if observed.pause else ""
    return ".".join([credentials, *filter(None, (refresh, pause))])


def _refresh(asked: str) -> str:
    return "r" + sha256(asked.encode()).hexdigest()[:8]


def _renewal(observed: Observation, pod: PodView, poked: bool) -> str | None:
    """The new value of the reconnect annotation; None when it is not due.

    A pod without a token of this Service gets its first one with the next poke. After a move every pod gets one: the
    node's kube-proxy may be late, so connections of a pod that starts meanwhile may end on the former server, too. Its
    agent renews nothing for the token that it reads first. So a pod that starts gets the token when its agent has
    answered from a configuration in force.
    """
    now = endpoints.token(observed.view.backend, observed.endpoints)
    if not now or now == pod.reconnect:
        return None
    at = moved_at(observed)
    moved = at is not None and observed.now < at + NODES_FOLLOW_SECONDS
    state = observed.states.get(pod.uid)
    if moved and not pod.ready and not (state and state.digest):
        return None
    same = endpoints.same_service(pod.reconnect, now)
    before = pod.reconnect if same else observed.memory.endpoints
    return now if endpoints.lost(before, now) or (poked and not same) or (moved and not pod.reconnect) else None


def moved_at(observed: Observation) -> float | None:
    """When the pool's Service led elsewhere, the last time, as far as this process has seen; None if it never did."""
    now = endpoints.token(observed.view.backend, observed.endpoints)
    return observed.now if endpoints.lost(observed.memory.endpoints, now) else observed.memory.moved


def _last_read(observed: Observation) -> str:
    """The version for a pod that has none yet. Without it, the next read of the Secrets pokes every new pod again."""
    return observed.memory.reading.version if observed.memory.reading else ""


def _parse(poke: str) -> tuple[int, str, int]:
    """Round of the ledger, news and attempt of an annotation; (-1, "", 0) when it is missing or unreadable."""
    seq, _, rest = poke.partition("-")
    news, _, attempt = rest.partition("-")
    if not seq.isdecimal() or not attempt.isdecimal():
        return -1, "", 0
    return int(seq), news, int(attempt)
