"""May the pods change now? Limits move first, then pods. Pure.

What a step adds must fit into what nobody is charged for.
"""

from dataclasses import dataclass, replace

from pgbouncer_operator.pgbouncer.grants import Grants
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.projections import PodView
from pgbouncer_operator.reconcile.rolls import rollout, rolls
from pgbouncer_operator.resources.desired import Desired
from pgbouncer_operator.sizing.fit import Fit
from pgbouncer_operator.sizing.ledger import Limits, PodUse, Round, allocate


@dataclass(frozen=True, slots=True)
class Capacity:
    """This round of the ledger, the replicas the Deployment may have now, and whether a roll may begin."""

    round: Round
    replicas: int
    may_roll: bool


def decide(seen: Observed, wanted: Desired, budget: int) -> Capacity:
    """One step towards `wanted`: pods are taken away at once, and added only when each of them could take `static`.

    So that even pods that start without an operator, on `static`, stay within the budget.
    """
    fit = wanted.fit
    standing = rollout(seen, wanted)
    rolling = standing is not None and (rolls(seen, wanted) or standing.existing > standing.updated)
    slots = max(len(seen.living), fit.replicas + (fit.surge if rolling else 0))
    grants = seen.ledger.grants if seen.ledger else Grants(seq=1, static=0, pods={})
    decided = allocate(grants, _uses(seen), _limits(seen, fit, budget, slots))
    newcomers = decided.room(budget) // fit.static if fit.static else 0
    holders = len(seen.living) - len(decided.waiting)
    now = standing.replicas if standing else 0
    replicas = fit.replicas if fit.replicas <= now else max(now, min(fit.replicas, holders + newcomers))
    return Capacity(decided, replicas, may_roll=not fit.surge or newcomers > 0)


def _limits(seen: Observed, fit: Fit, budget: int, slots: int) -> Limits:
    limits = Limits(budget, fit.floor, slots, fit.static, now=seen.unix)
    if seen.membership is None or seen.membership.entry is None:
        return limits
    entry = seen.membership.entry
    awaited = entry.high > entry.connections
    return replace(limits, server=seen.membership.server, allocation=entry.seq, awaited=awaited)


def _uses(seen: Observed) -> list[PodUse]:
    uses = []
    for pod in (*seen.living, *seen.leaving):
        going = pod.terminating or pod.finished
        use = PodUse(pod.uid, going, address=pod.address, serves=pod.ready, expected=_expected(pod))
        state = seen.states.get(pod.uid)
        if state is not None and (state.cap or not pod.ready):  # an agent that just started has confirmed nothing yet
            use = replace(use, seq=state.seq, cap=state.cap, open=state.open)
        uses.append(use)
    ended = seen.ended | {pod.uid for pod in seen.pods if pod.ended}
    return [*uses, *(PodUse(uid, terminating=True, ended=True) for uid in sorted(ended))]


def _expected(pod: PodView) -> bool:
    """Whether kubelet is about to give the pod an address."""
    return pod.placed and not pod.address and not pod.terminating
