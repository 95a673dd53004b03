"""From what is observed to what is written. Pure.

One observation always gives the same plan, and once a plan is applied in full the next one has no writes.
"""

from collections.abc import Iterable
from dataclasses import replace

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.reconcile.budget import capacity
from pgbouncer_operator.reconcile.budget.server_change import decide, watched
from pgbouncer_operator.reconcile.budget.size import pool_size
from pgbouncer_operator.reconcile.cache import endpoints
from pgbouncer_operator.reconcile.observed import Observation, Observed, ObservedInvalid
from pgbouncer_operator.reconcile.pause import look_again
from pgbouncer_operator.reconcile.pool import writes
from pgbouncer_operator.reconcile.rollout.canary import Rollout, next_rollout
from pgbouncer_operator.reconcile.rollout.delivery import moved_at, pokes
from pgbouncer_operator.reconcile.rollout.last_change import track
from pgbouncer_operator.reconcile.server import membership
from pgbouncer_operator.reconcile.status.decided import Decided
from pgbouncer_operator.reconcile.status.report import report, report_invalid
from pgbouncer_operator.reconcile.steps import Plan, Step
from pgbouncer_operator.resources.configuration import config_map
from pgbouncer_operator.resources.deployment import Platform, hashed_delay
from pgbouncer_operator.resources.desired import Desired, desired, digest_of, dress, redress
from pgbouncer_operator.sizing.ledger import relief

KEEPING = 0.5  # seconds until the next look while pods change although the spec cannot be used
RETRY_REFUSED = 5.0  # seconds until a refused write is tried again


def plan(observed: Observed | ObservedInvalid, platform: Platform) -> Plan:
    """Every write that brings the cluster one step closer to the spec, with status, events and the next look."""
    if observed.view.deleting:
        # The children go by their ownerReferences. Pods that a finalizer of somebody else keeps go on until then.
        return _keeping_ledger(observed, Plan((), (), None, observed.memory))
    if membership.waits(observed):
        return _wait_for_server(observed)
    observed = observed.remember(waiting_since=None)
    if isinstance(observed, ObservedInvalid):
        return _keeping_ledger(observed, report_invalid(observed))
    size = pool_size(observed)
    wanted = desired(observed.spec, _as_before(observed, platform), size.size)
    observed = watched(observed, wanted)
    decided = Decided(wanted, decide(observed, wanted, size.size), size)
    if wanted.fit.shortage and not wanted.fit.replicas:
        # Not one pod fits. A mistyped number must not stop a pool: its pods keep their configuration and their grants.
        return report(observed, decided, ())
    return _step(observed, decided)


def _as_before(observed: Observed, platform: Platform) -> Platform:
    """The operator's settings, with the one that the pool's Deployment has in the hash of its inputs."""
    child = observed.children.get(("Deployment", naming.deployment(observed.view.name)))
    if child is None or child.rollout is None:
        return platform
    return replace(platform, hashed_delay=hashed_delay(observed.spec, child.rollout.template, platform))


def _step(observed: Observed, decided: Decided) -> Plan:
    """The objects that pods read first, then what tells pods to read them, and the Deployment."""
    grants = decided.capacity.round.grants
    wanted = _with_pause(observed, decided.wanted)
    observed = track(observed, wanted)
    rollout = next_rollout(observed, wanted)
    wanted = _with_documents(observed, wanted, rollout)
    decided = replace(decided, wanted=wanted, rollout=rollout)
    poked, poke_memory = pokes(observed, rollout.assigned, grants)
    read_by_pods = [
        *writes.ledger(observed, decided.capacity),
        *writes.children(observed, wanted),
        *writes.connection_secrets(observed),
    ]
    pods = [*poked, *writes.deployment(observed, wanted, decided.capacity, tried=not rollout.candidate)]
    endpoint_token = endpoints.token(observed.view.backend, observed.endpoints) or observed.memory.endpoints
    observed = observed.remember(
        trial=rollout.trial, poked=poke_memory, endpoints=endpoint_token, moved=moved_at(observed)
    )
    observed = _without_old_refusals(observed, [*read_by_pods, *pods])
    phases = (_permitted(observed, read_by_pods), _permitted(observed, pods))
    return _in_time(observed, grants, report(observed, decided, phases))


def _wait_for_server(observed: Observed | ObservedInvalid) -> Plan:
    """Nothing but the next step of the ledger before the PostgresServer lets the pool in.

    The status says what the pool waits for once that lasts.
    """
    if observed.memory.waiting_since is None:
        observed = observed.remember(waiting_since=observed.now)
    refused = membership.awaiting(observed)
    if refused is None:
        reported = Plan((), (), membership.LOOK_AGAIN, observed.memory)
    else:
        reported = replace(report_invalid(refused), at_rest=False, requeue_after=membership.LOOK_AGAIN)
    return _keeping_ledger(_with_standing_pause(observed), reported)


def _keeping_ledger(observed: Observation, reported: Plan) -> Plan:
    """The plan of a pool that cannot follow its spec now, with the next step of its ledger before all else."""
    kept = capacity.keep(observed)
    if kept is None or not observed.pods:
        return reported
    digest = digest_of(observed.written_intent)
    poked, memory = pokes(observed, {pod.uid: pod.config or digest for pod in observed.living}, kept.grants)
    steps = (tuple(writes.kept_ledger(observed, kept.grants)), poked)
    phases = (*filter(None, (_permitted(observed, each) for each in steps)), *reported.phases)
    planned = replace(reported, phases=phases, memory=replace(reported.memory, poked=memory))
    if not (any(steps) or kept.waiting or observed.leaving):
        return _in_time(observed, kept.grants, planned)
    soon = min(KEEPING, reported.requeue_after or KEEPING)
    return _in_time(observed, kept.grants, replace(planned, at_rest=False, requeue_after=soon))


def _with_standing_pause(observed: Observation) -> Observation:
    """The same look without a pause that the ConfigMap does not have yet: its pods cannot obey it."""
    return observed if naming.TRAFFIC_KEY in observed.config_map_data else replace(observed, pause=None)


def _with_pause(observed: Observed, wanted: Desired) -> Desired:
    """The objects with the pause that is wanted in the ConfigMap."""
    if observed.pause is None:
        return wanted
    body = config_map(observed.spec, wanted.intent, observed.pause.document)
    return replace(wanted, config_map=dress(observed.spec, body))


def _with_documents(observed: Observed, wanted: Desired, rollout: Rollout) -> Desired:
    """The objects with the configurations of this step of the rollout, and the server's CA, in the ConfigMap."""
    data = wanted.config_map["data"] | rollout.documents | membership.documents(observed)
    return replace(wanted, config_map=redress(observed.spec, wanted.config_map, data))


def _without_old_refusals(observed: Observed, steps: list[Step]) -> Observed:
    """The same look without refusals of writes that are no longer wanted."""
    keys = {step.key for step in steps}
    return observed.remember(refusals={key: each for key, each in observed.memory.refusals.items() if key in keys})


def _permitted(observed: Observation, steps: Iterable[Step]) -> tuple[Step, ...]:
    """The writes without those that the API server refused in the last seconds."""
    refused = {key for key, each in observed.memory.refusals.items() if observed.now - each.at < RETRY_REFUSED}
    return tuple(step for step in steps if step.key not in refused)


def _seconds_charged(observed: Observation, uid: str, grant: Grant) -> float:
    """Seconds until the tombstone may go, or until its pod is asked for again."""
    by_ledger = float(max(1, relief(grant, observed.intervals.sessions) - observed.unix))
    lost = observed.lost.get(uid)
    if lost is None:
        return by_ledger
    left = lost.left(observed.now, observed.intervals.sessions)
    return max(by_ledger, left) if lost.over else left


def _in_time(observed: Observation, grants: Grants, reported: Plan) -> Plan:
    """The plan with an earlier next look where the pause ends, a tombstone ends, or pods have yet to obey."""
    pausing = look_again(observed.pause, (observed.states.get(pod.uid) for pod in observed.living))
    tombstones = [_seconds_charged(observed, uid, each) for uid, each in grants.pods.items() if each.gone]
    times = [each for each in (pausing, membership.look_again(observed), *tombstones) if each is not None]
    if not times:
        return reported
    return replace(reported, at_rest=False, requeue_after=min(*times, reported.requeue_after or times[0]))
