"""What a pool's pods did between two looks, as windows of demand; and the decision made of them. Pure.

A pod that does not answer makes a window unknown, so that nothing is decided until all answer again; so it is while no
pod has come that could.
"""

from collections.abc import Mapping
from dataclasses import replace

from pgbouncer_operator.api.access import PoolMode
from pgbouncer_operator.api.tuning import SizingMode
from pgbouncer_operator.protocol.state import AgentState, Flow
from pgbouncer_operator.reconcile.budget.size import bounds, standing
from pgbouncer_operator.reconcile.memory import MeasuredDemand
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.sizing import demand
from pgbouncer_operator.sizing.demand import Bounds, SizingState
from pgbouncer_operator.sizing.window import Window

SHORTEST = 10.0  # seconds of a window; looks come every 15 s at rest, and far more often while something changes
FORETOLD = 1.0  # the same when client workloads have just been told to grow
LONGEST = 120.0  # seconds after which a sample is too old to be compared with
THINNED = 60.0  # seconds that one window stands for while nothing happens


def with_measured_demand(observed: Observed) -> Observed:
    """The same look, remembering what was measured and decided since the last."""
    if observed.view.deleting:
        return observed
    given = bounds(observed)
    before = observed.memory.demand
    states = _answers(observed, before)
    if states is None:
        return observed
    held = _held_back(observed, states)
    kept = before.quiet_since if before and not _busy(states) else observed.now
    if before is None or observed.now - before.at > LONGEST:
        size, usual = (before.sizing.size, before.sizing.usual) if before else (standing(observed, given), 0.0)
        sizing = demand.begun(size, observed.now, usual, _ever(states))
        return observed.remember(
            demand=MeasuredDemand(observed.now, given.clients, states, sizing, quiet_since=kept, held_back=held)
        )
    least = FORETOLD if given.clients > before.clients and not before.held_back else SHORTEST
    if not held and observed.now - before.at < least:
        return observed
    if held or before.held_back:
        # What a pause holds back says nothing of demand. Its waits are counted when they end: in what comes after it.
        anew = replace(before, at=observed.now, clients=given.clients, states=states, quiet_since=kept, held_back=held)
        return observed.remember(demand=anew)
    return observed.remember(demand=_decided(observed, before, states, given))


def _decided(
    observed: Observed, before: MeasuredDemand, states: Mapping[str, AgentState], given: Bounds
) -> MeasuredDemand:
    window = _window(observed, before, states)
    mode = observed.spec.spec.server_connections.sizing.mode
    # Modes that do not follow demand start from the size in force when they are asked to.
    size = before.sizing.size if mode is SizingMode.DEMAND else standing(observed, given)
    sizing, decision = demand.decide(replace(before.sizing, size=size), window, given)
    if mode is not SizingMode.DEMAND:  # nobody takes the steps
        sizing = SizingState(size, sizing.windows, sizing.wants, began=sizing.began, usual=sizing.usual)
        decision = replace(decision, size=size, reason=demand.SizingReason.ENOUGH)
    quiet = not (window.busy or window.queued or window.rate)
    return MeasuredDemand(
        at=observed.now,
        clients=given.clients,
        states=states,
        sizing=_thinned(sizing),
        decision=decision,
        quiet_since=before.quiet_since if quiet else observed.now,
    )


def _answers(observed: Observed, before: MeasuredDemand | None) -> Mapping[str, AgentState] | None:
    """What the pods say; None when one that may serve clients does not, or none that is to serve does."""
    found = {}
    for pod in (*observed.living, *observed.leaving):
        state = observed.states.get(pod.uid)
        if state is not None:
            told = before.states.get(pod.uid) if before else None
            found[pod.uid] = told if told is not None and told == state else state  # thousands at rest: one copy
        elif not pod.terminating and (pod.ready or (before is not None and pod.uid in before.states)):
            return None
    return found if any(pod.uid in found for pod in observed.living) else None


def _window(observed: Observed, before: MeasuredDemand, states: Mapping[str, AgentState]) -> Window:
    """What all pods did since the look before.

    Of a pod that was not heard before, or whose PgBouncer is silent, only the present is known: nobody knows in what
    time it did what it has done.
    """
    seconds = observed.now - before.at
    spec = observed.spec.spec
    held = PoolMode.SESSION in {spec.pool_mode, *(each.pool_mode for each in spec.databases)}
    busy = queued = rate = uncounted = 0.0
    waiting = 0
    for uid, state in states.items():
        earlier = before.states.get(uid)
        waiting += state.waiting
        if earlier is None or earlier.totals is None or state.totals is None or held:
            uncounted += state.busy
            continue
        grown = state.totals.since(earlier.totals)
        busy += state.used_since(earlier, grown, seconds)
        queued += grown.wait_seconds / seconds
        rate += grown.transactions / seconds
    ready = observed.clients.ready if observed.clients else 0
    return Window(observed.now, seconds, busy + uncounted, max(queued, float(waiting)), rate, ready, uncounted)


def _ever(states: Mapping[str, AgentState]) -> float:
    """Mean seconds that a transaction held a connection since PgBouncer started: it outlives the operator's memory."""
    known = [each.totals for each in states.values() if each.totals is not None]
    count = sum(each.transactions for each in known)
    return max(0.0, sum(each.transaction_seconds - each.wait_seconds for each in known)) / count if count else 0.0


def _held_back(observed: Observed, states: Mapping[str, AgentState]) -> bool:
    """Whether queries are to wait, or still do."""
    asked = observed.pause is not None and not observed.pause.expired
    return asked or any(state.traffic == Flow.PAUSED for state in states.values())


def _thinned(sizing: SizingState) -> SizingState:
    """Fewer windows of a pool that does nothing: there may be thousands of them."""
    if any(each.busy or each.queued for each in sizing.windows):
        return sizing
    windows, wants = sizing.windows, sizing.wants
    if len(windows) > 2 and windows[-1].at - windows[-3].at < THINNED:
        windows = (*windows[:-2], windows[-1])
    if len(wants) > 2 and wants[-1][0] - wants[-3][0] < THINNED and wants[-1][1] == wants[-2][1]:
        wants = (*wants[:-2], wants[-1])
    return replace(sizing, windows=windows, wants=wants)


def _busy(states: Mapping[str, AgentState]) -> bool:
    return any(state.busy or state.waiting for state in states.values())
