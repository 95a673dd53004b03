"""The part of status that counts and names: pods, connections, hashes, endpoint, image, Secrets. Pure."""

from collections.abc import Sequence

from pgbouncer_operator import naming
from pgbouncer_operator.api.access import Endpoint
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.api.spec import PoolSpec
from pgbouncer_operator.api.status import (
    Binding,
    ClientsStatus,
    Configuration,
    PoolStatus,
    ServerConnectionsStatus,
    Summary,
    ratio,
)
from pgbouncer_operator.reconcile.advice import advice
from pgbouncer_operator.reconcile.agent_state import AgentState
from pgbouncer_operator.reconcile.allotment import Allotment
from pgbouncer_operator.reconcile.capacity import Capacity
from pgbouncer_operator.reconcile.observed import Missing, Observed
from pgbouncer_operator.reconcile.pokes import follows
from pgbouncer_operator.reconcile.rolls import image
from pgbouncer_operator.resources.connection_secret import connection_secrets
from pgbouncer_operator.resources.desired import Desired


def with_facts(
    told: PoolStatus, seen: Observed, wanted: Desired, capacity: Capacity, allotment: Allotment
) -> PoolStatus:
    """The status with what was counted and read. The spec must be readable."""
    assert isinstance(seen.spec, ConnectionPool)
    spec, name = seen.spec.spec, seen.view.name
    digest, grants = wanted.intent.digest, capacity.round.grants
    states = [state for pod in (*seen.living, *seen.leaving) if (state := seen.states.get(pod.uid)) is not None]
    applied = sum(follows(seen.states.get(pod.uid), digest, grants.concerning(pod.uid)) for pod in seen.living)
    ready = sum(pod.ready for pod in seen.living)
    made = _made_secrets(seen)
    host = spec.service.external_host or naming.service_host(name, seen.view.namespace)
    return told.model_copy(
        update={
            "replicas": len(seen.living),
            "ready_replicas": ready,
            "selector": f"{naming.LABEL_POOL}={name}",
            "endpoint": f"{host}:{spec.service.port}",
            "binding": _binding(seen.spec, made),
            "image": _image(seen, wanted),
            "configuration": Configuration(
                hash=digest, applied=ratio(applied, len(seen.living)), pods_applied=applied, pods_total=len(seen.living)
            ),
            "server_connections": _connections(states, spec, capacity, allotment),
            "clients": ClientsStatus(
                connected=sum(state.clients for state in states), max_per_pod=spec.clients.max_per_pod
            ),
            "summary": Summary(
                pods=ratio(ready, wanted.fit.replicas),
                connections=ratio(sum(state.open for state in states), allotment.budget),
            ),
            "recommendation": allotment.recommendation,
            "advice": advice(seen, allotment) or None,
            "last_change": seen.status.last_change,
            "connection_secrets": tuple(made) or None,
        }
    )


def _connections(
    states: Sequence[AgentState], spec: PoolSpec, capacity: Capacity, allotment: Allotment
) -> ServerConnectionsStatus:
    return ServerConnectionsStatus(
        max=spec.server_connections.most,
        size=allotment.size,
        allocated=capacity.round.charged,
        open=sum(state.open for state in states),
        busy=sum(state.busy for state in states),
        waiting=sum(state.waiting for state in states),
    )


def _binding(pool: ConnectionPool, made: list[str]) -> Binding | None:
    """The first connection Secret that leads through the pool."""
    through = (each.name for each in connection_secrets(pool) if each.endpoint is Endpoint.POOL)
    return next((Binding(name=name) for name in through if name in made), None)


def _made_secrets(seen: Observed) -> list[str]:
    """Names of connection Secrets that are ours: those seen, and those this plan may be about to make."""
    assert isinstance(seen.spec, ConnectionPool)
    if seen.secrets is None or seen.credentials is None:
        return list(seen.made)
    refused = {name for kind, name in seen.memory.refusals if kind == "Secret"}
    return sorted(
        each.name
        for each in connection_secrets(seen.spec)
        if each.name not in refused
        and (
            seen.secrets.get(each.name) is not None or not isinstance(seen.credentials.by_user.get(each.user), Missing)
        )
    )


def _image(seen: Observed, wanted: Desired) -> str:
    child = seen.child(wanted.deployment)
    return image(child.unpack() if child else wanted.deployment)
