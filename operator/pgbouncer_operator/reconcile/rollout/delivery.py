"""Telling pods: annotations that name what to run and make kubelet refresh the pod's volumes at once. Pure.

kubelet watches Pods and ConfigMaps independently, so a refresh may still bring the old ConfigMap: a pod that does not
follow is poked again with another value (an equal one would be no change).
"""

from collections.abc import Mapping
from hashlib import sha256

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.protocol.state import AgentState, ProblemReason
from pgbouncer_operator.reconcile.cache import endpoints
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pause import obeyed
from pgbouncer_operator.reconcile.steps import Action, Step

FOLLOW_SECONDS = 1.5  # seconds for a pod to follow before it is poked again; delivery was measured at 0.24 to 0.45 s
TROUBLED_FOLLOW_SECONDS = 15.0  # a pod that says it cannot follow is asked rarely: the cause is elsewhere
DELIVERED = {ProblemReason.CANDIDATE_REFUSED}  # the configuration arrived: another delivery would not help


def pokes(
    observed: Observed, tell: Mapping[str, str], grants: Grants
) -> tuple[tuple[Step, ...], dict[str, tuple[str, float]]]:
    """Annotation patches for living pods that have not been told, or do not follow; and the memory of them.

    tell: by pod uid, the hash of the configuration that it is to run.
    """
    steps, memory = [], {}
    for pod in observed.living:
        digest = tell[pod.uid]
        known = observed.memory.poked.get(pod.uid)
        value = _value(observed, pod, digest, grants)
        renewal = _renewal(observed, pod, poked=value is not None)
        if value is not None:
            memory[pod.uid] = (value, observed.now)
        elif known:
            memory[pod.uid] = known
        annotations = {naming.ANNOTATION_CONFIG: digest, naming.ANNOTATION_POKE: value} if value is not None else {}
        if renewal is not None:
            annotations[naming.ANNOTATION_RECONNECT] = renewal
        if not annotations:
            continue
        metadata = {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid, "annotations": annotations}
        # Through the status subresource the spec cannot be touched, so the operator needs no right to change pods.
        steps.append(
            Step(Action.PATCH, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}, subresource="status")
        )
    return tuple(steps), memory


def follows(state: AgentState | None, digest: str, seq: int) -> bool:
    """Whether the pod has applied and verified this configuration and the ledger up to this sequence."""
    return state is not None and state.digest == digest and state.seq >= seq


def told_seq(pod: PodView) -> int:
    """The round of the ledger that the pod was last told of; 0 when it was told of none."""
    return max(0, _parse(pod.poke)[0])


def _value(observed: Observed, pod: PodView, digest: str, grants: Grants) -> str | None:
    """The annotation's next value `<seq>-<news>-<attempt>`; None when the pod needs no poke now.

    A ledger that tells a pod nothing new pokes it not: it will read it in time, and obeys it already.
    """
    seq, due = grants.seq, grants.concerning(pod.uid)
    seq_told, told, attempt = _parse(pod.poke)
    news = _news(observed, told)
    if pod.config != digest or not due <= seq_told <= seq or told != news:
        return f"{seq}-{news}-0"
    state = observed.states.get(pod.uid)
    if state is None or (follows(state, digest, due) and obeyed(observed.pause, state) and not observed.owes(pod.uid)):
        return None
    known = observed.memory.poked.get(pod.uid)
    patience = TROUBLED_FOLLOW_SECONDS if any(each.reason in DELIVERED for each in state.problems) else FOLLOW_SECONDS
    if known and observed.now - known[1] < patience * min(2**attempt, 16):
        return None
    return f"{seq}-{news}-{attempt + 1}"


def _news(observed: Observed, told: str) -> str:
    """What else pods are told of: `<credentials>[.r<refresh>][.p<end of a pause>]`, each another when it changes.

    What was not read is no news, and neither is a refresh that is no longer asked for.
    """
    known, *rest = told.split(".")
    credentials = observed.credentials.version if observed.credentials else known or _last_read(observed)
    asked = observed.view.refresh
    refresh = "r" + sha256(asked.encode()).hexdigest()[:8] if asked else next((e for e in rest if e[:1] == "r"), "")
    pause = f"p{observed.pause.until}" if observed.pause else ""
    return ".".join([credentials, *filter(None, (refresh, pause))])


def _renewal(observed: Observed, pod: PodView, poked: bool) -> str | None:
    """The token of the reconnect annotation when it is due; the first of a Service goes along with a poke."""
    now = endpoints.token(observed.view.backend, observed.endpoints)
    if not now or now == pod.reconnect:
        return None
    known = endpoints.same_service(pod.reconnect, now)
    told = pod.reconnect if known else observed.memory.endpoints
    return now if endpoints.lost(told, now) or (poked and not known) else None


def _last_read(observed: Observed) -> str:
    """What a new pod is told: without it the next read, at the latest a restart of ours, would poke every pod again."""
    return observed.memory.reading.version if observed.memory.reading else ""


def _parse(poke: str) -> tuple[int, str, int]:
    seq, _, rest = poke.partition("-")
    news, _, attempt = rest.partition("-")
    if not seq.isdecimal() or not attempt.isdecimal():
        return -1, "", 0
    return int(seq), news, int(attempt)
