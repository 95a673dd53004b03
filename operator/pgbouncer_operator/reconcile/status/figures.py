"""The figures and names of a status: pods, connections, hash, endpoint, image, connection Secrets. Pure."""

from collections.abc import Sequence

from pgbouncer_operator import naming
from pgbouncer_operator.api.access import Endpoint
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.api.spec import PoolSpec
from pgbouncer_operator.api.status import (
    BackendStatus,
    Binding,
    ClientsStatus,
    Configuration,
    PoolStatus,
    ServerConnectionsStatus,
    Summary,
    ratio,
)
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.memory import Missing
from pgbouncer_operator.reconcile.observed import Observation, Observed
from pgbouncer_operator.reconcile.rollout.delivery import follows
from pgbouncer_operator.reconcile.rollout.template import image, lacking
from pgbouncer_operator.reconcile.status.advice import advice
from pgbouncer_operator.reconcile.status.decided import Decided
from pgbouncer_operator.resources.connection_secret import connection_secrets
from pgbouncer_operator.resources.desired import Desired


def with_figures(status: PoolStatus, observed: Observed, decided: Decided) -> PoolStatus:
    """The status with everything that is counted or named, in the units of `api.status`."""
    spec, name, size = observed.spec.spec, observed.view.name, decided.size
    states = [
        state for pod in (*observed.living, *observed.leaving) if (state := observed.states.get(pod.uid)) is not None
    ]
    ready = sum(pod.ready for pod in observed.living)
    secrets = _secrets(observed)
    host = spec.service.external_host or naming.service_host(name, observed.view.namespace)
    return status.model_copy(
        update={
            "replicas": len(observed.living),
            "ready_replicas": ready,
            "pods_without_fixes": len(lacking(observed)),
            "selector": f"{naming.LABEL_POOL}={name}",
            "endpoint": f"{host}:{spec.service.port}",
            "binding": _binding(observed.spec, secrets),
            "image": _image(observed, decided.wanted),
            "configuration": _configuration(observed, decided),
            "server_connections": _connections(states, spec, decided),
            "clients": ClientsStatus(
                connected=sum(state.clients for state in states),
                max_per_pod=min(map(observed.clients_max, observed.living), default=spec.clients.max_per_pod),
            ),
            "summary": Summary(
                pods=ratio(ready, decided.wanted.fit.replicas),
                connections=ratio(sum(state.open for state in states), size.size),
            ),
            "recommendation": size.recommendation,
            "advice": advice(observed, size) or None,
            "last_change": observed.status.last_change,
            "backend": backend(observed),
            "connection_secrets": tuple(secrets) or None,
        }
    )


def backend(observed: Observation) -> BackendStatus | None:
    """The server in the Secret of `backend.secretRef`; None without one."""
    read = observed.memory.server
    server = read.found.backend if read and read.found else None
    return BackendStatus(host=server.address, port=server.port) if server else None


def _configuration(observed: Observed, decided: Decided) -> Configuration:
    """How many of the living pods run the wanted configuration and obey the ledger."""
    digest, grants, total = decided.wanted.intent.digest, decided.capacity.round.grants, len(observed.living)
    applied = sum(follows(observed.states.get(pod.uid), digest, grants.concerning(pod.uid)) for pod in observed.living)
    return Configuration(hash=digest, applied=ratio(applied, total), pods_applied=applied, pods_total=total)


def _connections(states: Sequence[AgentState], spec: PoolSpec, decided: Decided) -> ServerConnectionsStatus:
    return ServerConnectionsStatus(
        max=spec.server_connections.most,
        size=decided.size.wanted,
        allocated=decided.capacity.round.charged,
        open=sum(state.open for state in states),
        busy=sum(state.busy for state in states),
        waiting=sum(state.waiting for state in states),
    )


def _binding(pool: ConnectionPool, secrets: list[str]) -> Binding | None:
    """The first connection Secret that leads through the pool."""
    through = (each.name for each in connection_secrets(pool) if each.endpoint is Endpoint.POOL)
    return next((Binding(name=name) for name in through if name in secrets), None)


def _secrets(observed: Observed) -> list[str]:
    """Names of the connection Secrets that the operator owns: those in the cluster, and those this plan may create."""
    if observed.secrets is None or observed.credentials is None:
        return list(observed.connection_secrets)
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
