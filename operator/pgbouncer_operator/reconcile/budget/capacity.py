"""The next step of a pool's ledger, and whether its pods may change now. Pure.

Limits move before pods do. What a step adds must fit into the connections that no pod is charged with.
"""

from dataclasses import dataclass, replace

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.pgbouncer.composition import entries
from pgbouncer_operator.protocol.grants import MOST, Grants
from pgbouncer_operator.protocol.intent import Intent, IntentError
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.reconcile.memory import Presence
from pgbouncer_operator.reconcile.observed import Observation, Observed
from pgbouncer_operator.reconcile.rollout.template import progress, rolls
from pgbouncer_operator.reconcile.server.membership import waits
from pgbouncer_operator.resources.desired import Desired
from pgbouncer_operator.sizing.fit import Fit, FitRequest, fit
from pgbouncer_operator.sizing.ledger import LedgerTerms, PodUse, Round, allocate, charged


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the pool's pods may do now."""

    round: Round
    """This step of the ledger."""
    replicas: int
    """Replicas that the Deployment may have now."""
    may_roll: bool
    """Whether a roll may begin."""


def decide(observed: Observed, wanted: Desired, size: int) -> Capacity:
    """One step towards `wanted`. size: server connections that the pool may hold.

    Pods are removed at once. Pods are added only when each could take `fit.static` connections without a grant, so that
    even pods that start while no operator runs stay within the size. A Deployment that does not exist is made at once
    with a pod for each that leaves, as its ReplicaSet would: they wait for what those hand over.
    """
    fit = wanted.fit
    deployment = progress(observed, wanted)
    rolling = deployment is not None and (rolls(observed, wanted) or deployment.existing > deployment.updated)
    slots = max(len(observed.living), fit.replicas + (fit.surge if rolling else 0))
    grants = observed.ledger.grants if observed.ledger else Grants(seq=1, static=0, pods={})
    step = allocate(grants, _uses(observed), _terms(observed, fit, size, slots))
    new_pods = step.room(size) // fit.static if fit.static else 0
    holders = len(observed.living) - len(step.waiting)
    now = deployment.replicas if deployment else 0
    least = now if deployment else max(1, len(observed.leaving))
    replicas = fit.replicas if fit.replicas <= now else min(fit.replicas, max(least, holders + new_pods))
    return Capacity(step, replicas, may_roll=not fit.surge or new_pods > 0)


def keep(observed: Observation) -> Round | None:
    """One step of the ledger while the pool cannot follow its spec, within what the last good spec allowed.

    The pods keep their configuration. Their successors wait for a grant instead of taking the static share beside them.
    None where no ledger can be read, or where it is unknown what a pod needs.
    """
    databases = _databases(observed)
    ledger = observed.ledger
    if ledger is None or not ledger.resource_version or ledger.spoiled or not databases:
        return None
    grants, standing = ledger.grants, charged(ledger.grants)
    deployment = observed.children.get(("Deployment", naming.deployment(observed.view.name)))
    progress = deployment.rollout if deployment else None
    replicas = progress.replicas if progress else len(observed.living)
    size = min(grants.size or standing, _allowed(observed, standing))
    fitting = fit(FitRequest(size, replicas, databases, {}))
    slots = max(len(observed.living), fitting.replicas)
    terms = _terms(observed, fitting, size, slots)
    if not _stays(observed, grants.server):
        terms = replace(terms, server=grants.server, allocation=grants.allocation)
    return allocate(grants, _uses(observed), terms)


def _stays(observed: Observation, server: str) -> bool:
    """Whether the pool goes on at the former host and port of its server, which still says what it may hold there."""
    member = observed.membership
    if member is None or member.obstacle is None or member.entry is None or member.server != server:
        return False
    return observed.ledger is not None and member.entry.seq >= observed.ledger.grants.allocation


def _allowed(observed: Observation, standing: int) -> int:
    """The most that the pool may hold now.

    While it waits for its server: what the former server allows, or nothing more than it holds.
    """
    member = observed.membership
    if member and member.entry and observed.ledger and _stays(observed, observed.ledger.grants.server):
        return member.entry.connections
    if member is None or (member.obstacle is not None and member.obstacle.reason is not Reason.PENDING):
        return member.entry.connections if member and member.entry else MOST
    if member.entry is None or waits(observed):
        return observed.former.connections if observed.former else standing
    return member.entry.connections


def _databases(observed: Observation) -> int:
    """Database entries of the configuration that the pods run; 0 while unknown."""
    try:
        return len(entries(Intent.from_json(observed.written_intent)))
    except IntentError:
        return 0


def _terms(observed: Observation, fit: Fit, size: int, slots: int) -> LedgerTerms:
    """What the pods' caps have to respect."""
    terms = LedgerTerms(size, fit.floor, slots, fit.static, now=observed.unix, outlives=observed.intervals.sessions)
    terms = replace(terms, lasting=observed.charged_lost)
    if observed.membership is None or observed.membership.entry is None:
        return terms
    entry = observed.membership.entry
    awaited = entry.high > entry.connections
    member = observed.membership
    return replace(terms, server=member.server, allocation=entry.seq, awaited=awaited, reached=member.reached)


def _uses(observed: Observation) -> list[PodUse]:
    """What each pod holds by its own report."""
    uses = [_use(pod, observed.states.get(pod.uid)) for pod in (*observed.living, *observed.leaving)]
    for uid, state in observed.unlabelled_states.items():
        if (pod := observed.lost[uid].unlabelled) is not None:
            uses.append(replace(_use(pod, state), unlabelled=True))
    ended = observed.ended | {pod.uid for pod in observed.pods if pod.ended}
    ended |= {uid for uid, each in observed.lost.items() if each.presence is Presence.ENDED}
    return [*uses, *(PodUse(uid, terminating=True, ended=True) for uid in sorted(ended))]


def _use(pod: PodView, state: AgentState | None) -> PodUse:
    """What the pod holds by this report; None where it gave none."""
    leaving = pod.terminating or pod.finished
    use = PodUse(pod.uid, leaving, address=pod.address, serves=pod.ready, expected=_expected(pod), name=pod.name)
    if state is None or (pod.ready and not state.cap):  # an agent that has just started confirms nothing
        return use
    cap, held = min(state.cap, MOST), min(state.open, MOST)
    return replace(use, seq=state.seq, cap=cap, open=held, keeps=state.keeps)


def _expected(pod: PodView) -> bool:
    """Whether the pod is about to get an address."""
    return pod.placed and not pod.address and not pod.terminating
