"""Makes windows of demand from what a pool's pods report, and decides the size that they ask for. Pure.

While a pod that may serve clients does not answer, the window is unknown and nothing is decided. The same holds before
the first pod answers.
"""

from collections.abc import Mapping
from dataclasses import replace

from pgbouncer_operator.api.access import PoolMode
from pgbouncer_operator.api.tuning import SizingMode
from pgbouncer_operator.protocol.reasons import Flow
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.budget.size import bounds, standing
from pgbouncer_operator.reconcile.memory import MeasuredDemand
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.sizing import demand
from pgbouncer_operator.sizing.demand import Bounds, SizingState
from pgbouncer_operator.sizing.window import Window

SHORTEST = 10.0  # seconds of a window at least; observations come every 15 s at rest, and more often during changes
FORETOLD = 1.0  # the same when client workloads have just begun to grow
LONGEST = 120.0  # seconds after which earlier answers are too old to compare with
THINNED = 60.0  # seconds that one window stands for while nothing happens


def with_measured_demand(observed: Observed) -> Observed:
    """The observation, with what was measured and decided since the last one in its memory."""
    if observed.view.deleting:
        return observed
    limits = bounds(observed)
    before = observed.memory.demand
    states = _answers(observed, before)
    if states is None:
        return observed
    held = _held_back(observed, states)
    kept = before.quiet_since if before and not _busy(states) else observed.now
    if before is None or observed.now - before.at > LONGEST:
        size, usual = (before.sizing.size, before.sizing.usual) if before else (standing(observed, limits), 0.0)
        sizing = demand.begun(size, observed.now, usual, _ever(states))
        return observed.remember(
            demand=MeasuredDemand(observed.now, limits.clients, states, sizing, quiet_since=kept, held_back=held)
        )
    least = FORETOLD if limits.clients > before.clients and not before.held_back else SHORTEST
    if not held and observed.now - before.at < least:
        return observed
    if held or before.held_back:
        # Queries that a pause holds back are no demand. PgBouncer counts their waits when they end, in a later window.
        later = replace(
            before, at=observed.now, clients=limits.clients, states=states, quiet_since=kept, held_back=held
        )
        return observed.remember(demand=later)
    return observed.remember(demand=_decided(observed, before, states, limits))


def _decided(
    observed: Observed, before: MeasuredDemand, states: Mapping[str, AgentState], limits: Bounds
) -> MeasuredDemand:
    """The demand after one more window."""
    window = _window(observed, before, states)
    mode = observed.spec.spec.server_connections.sizing.mode
    # In other modes every window starts from the size in force, so that a change of mode starts there, too.
    size = before.sizing.size if mode is SizingMode.DEMAND else standing(observed, limits)
    sizing, decision = demand.decide(replace(before.sizing, size=size), window, limits)
    if mode is not SizingMode.DEMAND:  # the size does not follow the decision
        sizing = SizingState(size, sizing.windows, sizing.wants, began=sizing.began, usual=sizing.usual)
        decision = replace(decision, size=size, reason=demand.SizingReason.ENOUGH)
    quiet = not (window.busy or window.queued or window.rate)
    return MeasuredDemand(
        at=observed.now,
        clients=limits.clients,
        states=states,
        sizing=_thinned(sizing),
        decision=decision,
        quiet_since=before.quiet_since if quiet else observed.now,
    )


def _answers(observed: Observed, before: MeasuredDemand | None) -> Mapping[str, AgentState] | None:
    """What the pods report. None when a pod that may serve clients does not answer, or no living pod does."""
    answers = {}
    for pod in (*observed.living, *observed.leaving):
        state = observed.states.get(pod.uid)
        if state is not None:
            earlier = before.states.get(pod.uid) if before else None
            # Equal answers share one object: there may be thousands of pods at rest.
            answers[pod.uid] = earlier if earlier is not None and earlier == state else state
        elif not pod.terminating and (pod.ready or (before is not None and pod.uid in before.states)):
            return None
    return answers if any(pod.uid in answers for pod in observed.living) else None


def _window(observed: Observed, before: MeasuredDemand, states: Mapping[str, AgentState]) -> Window:
    """What all pods did since the last answers.

    Of a pod without earlier totals only the present use is known: it is unknown since when it has done what it has
    done. In session mode a transaction says nothing of how long a connection is held, so there only the present use
    counts, too.
    """
    seconds = observed.now - before.at
    spec = observed.spec.spec
    session = PoolMode.SESSION in {spec.pool_mode, *(each.pool_mode for each in spec.databases)}
    busy = queued = rate = uncounted = 0.0
    waiting = 0
    for uid, state in states.items():
        earlier = before.states.get(uid)
        waiting += state.waiting
        if earlier is None or earlier.totals is None or state.totals is None or session:
            uncounted += state.busy
            continue
        difference = state.totals.since(earlier.totals)
        busy += state.used_since(earlier, difference, seconds)
        queued += difference.wait_seconds / seconds
        rate += difference.transactions / seconds
    ready = observed.clients.ready if observed.clients else 0
    return Window(observed.now, seconds, busy + uncounted, max(queued, float(waiting)), rate, ready, uncounted)


def _ever(states: Mapping[str, AgentState]) -> float:
    """Mean seconds that a transaction has held a connection since PgBouncer started. PgBouncer outlives the operator's
    memory.
    """
    totals = [each.totals for each in states.values() if each.totals is not None]
    count = sum(each.transactions for each in totals)
    return max(0.0, sum(each.transaction_seconds - each.wait_seconds for each in totals)) / count if count else 0.0


def _held_back(observed: Observed, states: Mapping[str, AgentState]) -> bool:
    """Whether queries wait because of a pause, or are about to."""
    pausing = observed.pause is not None and not observed.pause.expired
    return pausing or any(state.traffic == Flow.PAUSED for state in states.values())


def _thinned(sizing: SizingState) -> SizingState:
    """The state with fewer windows, for a pool at rest: there may be thousands of such pools."""
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
