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
from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.budget.capacity import Capacity
from pgbouncer_operator.reconcile.budget.size import PoolSize
from pgbouncer_operator.reconcile.memory import Missing
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.rollout.delivery import follows
from pgbouncer_operator.reconcile.rollout.template import image
from pgbouncer_operator.reconcile.status.advice import advice
from pgbouncer_operator.resources.connection_secret import connection_secrets
from pgbouncer_operator.resources.desired import Desired


def with_figures(
    told: PoolStatus, observed: Observed, wanted: Desired, capacity: Capacity, size: PoolSize
) -> PoolStatus:
    """The status with what was counted and read."""
    spec, name = observed.spec.spec, observed.view.name
    states = [
        state for pod in (*observed.living, *observed.leaving) if (state := observed.states.get(pod.uid)) is not None
    ]
    ready = sum(pod.ready for pod in observed.living)
    made = _made_secrets(observed)
    host = spec.service.external_host or naming.service_host(name, observed.view.namespace)
    return told.model_copy(
        update={
            "replicas": len(observed.living),
            "ready_replicas": ready,
            "selector": f"{naming.LABEL_POOL}={name}",
            "endpoint": f"{host}:{spec.service.port}",
            "binding": _binding(observed.spec, made),
            "image": _image(observed, wanted),
            "configuration": _configuration(observed, wanted, capacity.round.grants),
            "server_connections": _connections(states, spec, capacity, size),
            "clients": ClientsStatus(
                connected=sum(state.clients for state in states), max_per_pod=spec.clients.max_per_pod
            ),
            "summary": Summary(
                pods=ratio(ready, wanted.fit.replicas),
                connections=ratio(sum(state.open for state in states), size.size),
            ),
            "recommendation": size.recommendation,
            "advice": advice(observed, size) or None,
            "last_change": observed.status.last_change,
            "connection_secrets": tuple(made) or None,
        }
    )


def _configuration(observed: Observed, wanted: Desired, grants: Grants) -> Configuration:
    digest, total = wanted.intent.digest, len(observed.living)
    applied = sum(follows(observed.states.get(pod.uid), digest, grants.concerning(pod.uid)) for pod in observed.living)
    return Configuration(hash=digest, applied=ratio(applied, total), pods_applied=applied, pods_total=total)


def _connections(
    states: Sequence[AgentState], spec: PoolSpec, capacity: Capacity, size: PoolSize
) -> ServerConnectionsStatus:
    return ServerConnectionsStatus(
        max=spec.server_connections.most,
        size=size.wanted,
        allocated=capacity.round.charged,
        open=sum(state.open for state in states),
        busy=sum(state.busy for state in states),
        waiting=sum(state.waiting for state in states),
    )


def _binding(pool: ConnectionPool, made: list[str]) -> Binding | None:
    """The first connection Secret that leads through the pool."""
    through = (each.name for each in connection_secrets(pool) if each.endpoint is Endpoint.POOL)
    return next((Binding(name=name) for name in through if name in made), None)


def _made_secrets(observed: Observed) -> list[str]:
    """Names of connection Secrets that are ours: those seen, and those this plan may be about to make."""
    if observed.secrets is None or observed.credentials is None:
        return list(observed.made)
    refused = {name for kind, name in observed.memory.refusals if kind == "Secret"}
    return sorted(
        each.name
        for each in connection_secrets(observed.spec)
        if each.name not in refused
        and (
            observed.secrets.get(each.name) is not None
            or not isinstance(observed.credentials.by_user.get(each.user), Missing)
        )
    )


def _image(observed: Observed, wanted: Desired) -> str:
    child = observed.child(wanted.deployment)
    return image(child.unpack() if child else wanted.deployment)
