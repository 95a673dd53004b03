"""May the pods change now? Limits move first, then pods. Pure.

What a step adds must fit into what nobody is charged for.
"""

from dataclasses import dataclass, replace

from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.rollout.template import progress, rolls
from pgbouncer_operator.resources.desired import Desired
from pgbouncer_operator.sizing.fit import Fit
from pgbouncer_operator.sizing.ledger import LedgerTerms, PodUse, Round, allocate


@dataclass(frozen=True, slots=True)
class Capacity:
    """This round of the ledger, the replicas the Deployment may have now, and whether a roll may begin."""

    round: Round
    replicas: int
    may_roll: bool


def decide(observed: Observed, wanted: Desired, size: int) -> Capacity:
    """One step towards `wanted`: pods are taken away at once, and added only when each of them could take `static`.

    So that even pods that start without an operator, on `static`, stay within the budget.
    """
    fit = wanted.fit
    standing = progress(observed, wanted)
    rolling = standing is not None and (rolls(observed, wanted) or standing.existing > standing.updated)
    slots = max(len(observed.living), fit.replicas + (fit.surge if rolling else 0))
    grants = observed.ledger.grants if observed.ledger else Grants(seq=1, static=0, pods={})
    decided = allocate(grants, _uses(observed), _limits(observed, fit, size, slots))
    newcomers = decided.room(size) // fit.static if fit.static else 0
    holders = len(observed.living) - len(decided.waiting)
    now = standing.replicas if standing else 0
    replicas = fit.replicas if fit.replicas <= now else max(now, min(fit.replicas, holders + newcomers))
    return Capacity(decided, replicas, may_roll=not fit.surge or newcomers > 0)


def _limits(observed: Observed, fit: Fit, size: int, slots: int) -> LedgerTerms:
    limits = LedgerTerms(size, fit.floor, slots, fit.static, now=observed.unix)
    if observed.membership is None or observed.membership.entry is None:
        return limits
    entry = observed.membership.entry
    awaited = entry.high > entry.connections
    return replace(limits, server=observed.membership.server, allocation=entry.seq, awaited=awaited)


def _uses(observed: Observed) -> list[PodUse]:
    uses = []
    for pod in (*observed.living, *observed.leaving):
        going = pod.terminating or pod.finished
        use = PodUse(pod.uid, going, address=pod.address, serves=pod.ready, expected=_expected(pod))
        state = observed.states.get(pod.uid)
        if state is not None and (state.cap or not pod.ready):  # an agent that just started has confirmed nothing yet
            use = replace(use, seq=state.seq, cap=state.cap, open=state.open)
        uses.append(use)
    ended = observed.ended | {pod.uid for pod in observed.pods if pod.ended}
    return [*uses, *(PodUse(uid, terminating=True, ended=True) for uid in sorted(ended))]


def _expected(pod: PodView) -> bool:
    """Whether kubelet is about to give the pod an address."""
    return pod.placed and not pod.address and not pod.terminating
