"""One look at a pool: at the stores, the agents and, rarely, the users' Secrets."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pgbouncer_operator import naming
from pgbouncer_operator.api.access import AuthQuery, User
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool, InvalidSpec
from pgbouncer_operator.api.status import previous
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube, Object
from pgbouncer_operator.kube.resources import CONFIG_MAPS, SECRETS
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.budget.ledger import ledger
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache
from pgbouncer_operator.reconcile.cache.keys import Key, key_of, name_of
from pgbouncer_operator.reconcile.cache.views import ChildView, PoolView
from pgbouncer_operator.reconcile.intervals import NORMAL, Intervals
from pgbouncer_operator.reconcile.lost_pods import LostPods
from pgbouncer_operator.reconcile.memory import ChildKey, LostPod, Memory, Missing, SecretsRead, ServerRead
from pgbouncer_operator.reconcile.observed import (
    Credentials,
    Membership,
    Observation,
    Observed,
    ObservedInvalid,
    WrittenSecret,
    with_spec,
)
from pgbouncer_operator.reconcile.pause import pause
from pgbouncer_operator.reconcile.pool import backend_secret, certificates
from pgbouncer_operator.reconcile.pool.agents import Agents, answers
from pgbouncer_operator.reconcile.pool.secrets import (
    READ_AGAIN,
    content_hash,
    inputs,
    login_of,
    mounted_last,
    owed,
    shared_login,
    should_read,
    with_new_mounts,
    written_secret,
)
from pgbouncer_operator.reconcile.rollout.template import begun, behind
from pgbouncer_operator.reconcile.rollout.turns import Turns
from pgbouncer_operator.reconcile.server.membership import authority_body, budgeted, resolve, with_service
from pgbouncer_operator.reconcile.specification import parsed
from pgbouncer_operator.resources.connection_secret import connection_secrets
from pgbouncer_operator.resources.login import Login
from pgbouncer_operator.sizing.allocation import Entry


@dataclass(frozen=True, slots=True)
class Observer:
    """Observes one pool at a time."""

    kube: Kube
    agents: Agents
    world: ClusterCache
    clock: Callable[[], float]
    """Monotonic seconds."""
    today: Callable[[], str]
    """The time in RFC 3339, in UTC."""
    read_secrets: bool
    """Whether the operator may read Secrets. Without that right it writes no connection Secrets."""
    intervals: Intervals = NORMAL
    lost: LostPods = field(default_factory=LostPods)
    turns: Turns = field(default_factory=Turns)

    async def look(self, key: Key, memory: Memory) -> Observed | ObservedInvalid | None:
        """Everything that a reconcile needs; None when there is no such pool. Raises ApiError when a read fails."""
        view = self.world.pools.get(key)
        if view is None:
            self.world.ended.pop(key, None)
            self.world.lost_of(key, None)
            return None
        started, written = self.clock(), parsed(view)
        memory = await self._knowing_server(view, written, memory)
        observed = await self._observed(key, view, written, memory)
        if isinstance(observed, ObservedInvalid) or not self.read_secrets or view.deleting:
            return observed
        if not should_read(observed, inputs(observed, observed.spec)):
            return with_new_mounts(observed)
        server = memory.server
        if server is not None and isinstance(written, ConnectionPool) and server.at < started:
            server = await self._server(view, written, memory)
            if memory.server is not None and server.content != memory.server.content:
                return await self.look(key, replace(memory, server=server))
            observed = observed.remember(server=server)
        if server is not None and server.missing is not None and server.missing.reason is Reason.SECRET_NOT_READABLE:
            return with_new_mounts(observed)
        return await self._with_secrets(observed, observed.spec)

    async def _observed(
        self, key: Key, view: PoolView, written: ConnectionPool | InvalidSpec, memory: Memory
    ) -> Observed | ObservedInvalid:
        """Everything but the content of the users' Secrets. written: the spec as its user wrote it."""
        spec, view = backend_secret.resolved(written, view, memory.server)
        await self.world.servers.know_claims(self.kube, view, self.clock())
        spec, member = self._resolved(spec, view)
        if member is not None and member.obstacle is None:
            view = with_service(view, self.world.servers.of(view))
        common = replace(await self._common(key, view, memory), membership=member)
        common = replace(common, former=self._former(common))
        if isinstance(spec, InvalidSpec):
            return with_spec(common, spec)
        config_map = common.children.get(("ConfigMap", naming.config_map(view.name)))
        return replace(with_spec(common, spec), pause=pause(spec, config_map, common.today))

    async def _knowing_server(self, view: PoolView, spec: ConnectionPool | InvalidSpec, memory: Memory) -> Memory:
        """The memory with what the Secret of `backend.secretRef` says, read if that is due. Raises ApiError."""
        if isinstance(spec, InvalidSpec) or spec.spec.backend.secret_ref is None:
            return replace(memory, server=None) if memory.server else memory
        oldest = self.clock() - (READ_AGAIN if self.read_secrets else backend_secret.READ_AGAIN)
        if view.deleting or not backend_secret.due(memory.server, spec, view.refresh, oldest):
            return memory
        return replace(memory, server=await self._server(view, spec, memory))

    async def _server(self, view: PoolView, spec: ConnectionPool, memory: Memory) -> ServerRead:
        """What the Secret of `backend.secretRef` says now, also without the right to other Secrets. Raises ApiError."""
        reference = spec.spec.backend.secret_ref
        try:
            body = await self._read("Secret", view.namespace, reference.name) if reference else None
            answer = backend_secret.answer(spec, body)
        except errors.Forbidden:
            answer = backend_secret.forbidden(spec)
        found, missing = (None, answer) if isinstance(answer, Missing) else (answer, None)
        read = ServerRead(self.clock(), backend_secret.asked(spec), view.refresh, found, missing)
        return backend_secret.remembered(memory.server, read)

    async def _common(self, key: Key, view: PoolView, memory: Memory) -> Observation:
        """What is observed whatever the spec says. Raises ApiError when a read fails."""
        children, pods = self._children(key, view.uid), self.world.pods.find(key)
        if pods:
            await self.world.slices.follow(self.kube, view.backend)
        await self.world.clients.follow(self.kube, view.namespace, view.clients)
        known = answers(await self.agents.ask([pod for pod in pods if not pod.finished and not pod.foreign]))
        states = known.states
        observation = Observation(
            view=view,
            status=previous({"status": json.loads(view.status)}),
            children=children,
            pods=pods,
            states=states,
            hanging=known.hanging,
            ledger=ledger(children.get(("ConfigMap", naming.grants_config_map(view.name))), pods, states),
            credentials=None,
            secrets=None,
            memory=memory,
            now=self.clock(),
            today=self.today(),
            endpoints=self.world.slices.ready(view.backend),
            clients=self.world.clients.replicas(view.namespace, view.clients),
            intervals=self.intervals,
            turn=self._turn(view),
        )
        observation = replace(observation, ended=self._ended(key, observation))
        lost = await self._lost(key, observation)
        return replace(observation, lost=lost, unlabelled_states=await self._unlabelled(lost))

    async def _lost(self, key: Key, observed: Observation) -> Mapping[str, LostPod]:
        """The pods of the ledger that are neither in this look nor known to have ended, each asked for by its name."""
        grants = observed.ledger.grants.pods if observed.ledger else {}
        intact = observed.ledger is not None and observed.ledger.resource_version and not observed.ledger.spoiled
        last_names = self.world.lost_of(key, grants if intact else None)
        known = {pod.uid for pod in observed.pods} | observed.ended
        names = {uid: each.pod or last_names.get(uid, "") for uid, each in grants.items() if uid not in known}
        return await self.lost.ask(self.kube, key, names, observed.now)

    async def _unlabelled(self, lost: Mapping[str, LostPod]) -> Mapping[str, AgentState | None]:
        """What the agents of the unlabelled pods answer, without those that now have the label of an existing pool."""
        pods = [each.unlabelled for each in lost.values() if each.unlabelled is not None]
        watched = [self.world.pods.get((pod.namespace, pod.name)) for pod in pods]
        taken = {view.uid for view in watched if view and self.world.pools.get((view.namespace, view.pool))}
        pods = [pod for pod in pods if pod.uid not in taken]
        return answers(await self.agents.ask(pods)).states if pods else {}

    def _turn(self, view: PoolView) -> bool:
        """Whether this pool may replace old pods now. Few of the pools that should may do so at the same time."""
        if not behind(view, self.world.pods.find((view.namespace, view.name))):
            return True
        due = {}
        for each in self.world.with_template_version():
            key = (each.namespace, each.name)
            pods = self.world.pods.find(key)
            if not each.deleting and behind(each, pods):
                due[key] = begun(each, pods)
        return (view.namespace, view.name) in self.turns.holders(due, self.clock())

    def _ended(self, key: Key, observed: Observation) -> frozenset[str]:
        """UIDs of pods that have ended, of all pods in the ledger or in this look."""
        uids = {pod.uid for pod in observed.pods}.union(observed.ledger.grants.pods if observed.ledger else ())
        return self.world.ended_of(key, uids)

    def _former(self, observed: Observation) -> Entry | None:
        """What the server of the ledger lets the pool hold, where the spec names another server."""
        before = observed.ledger.grants.server if observed.ledger else ""
        if not before or (observed.membership is not None and observed.membership.server == before):
            return None
        server = self.world.servers.store.get(key_of(before))
        entry = server.allocations.entries.get(name_of(observed.view)) if server else None
        return entry if entry is not None and entry.uid == observed.view.uid else None

    def _children(self, key: Key, uid: str) -> dict[ChildKey, ChildView]:
        """The objects that belong to the pool with this UID."""
        children = (child for store in self.world.children.values() for child in store.find(key))
        return {(child.kind, child.name): child for child in children if child.owner == uid}

    def _resolved(
        self, spec: ConnectionPool | InvalidSpec, view: PoolView
    ) -> tuple[ConnectionPool | InvalidSpec, Membership | None]:
        """The spec, with what its PostgresServer adds to it."""
        servers = self.world.servers
        if isinstance(spec, InvalidSpec):
            return spec, None
        if spec.spec.backend.server_ref is not None:
            return resolve(spec, view, servers.of(view))
        owner = servers.budgeted(view)
        return budgeted(owner, spec) if owner else (spec, None)

    async def _with_secrets(self, observed: Observed, pool: ConnectionPool) -> Observed:
        """The same look with the content of the Secrets, and a memory of this read."""
        references: list[User | AuthQuery] = [*pool.spec.users]
        if pool.spec.auth_query:
            references.append(pool.spec.auth_query)
        names = {each.secret_ref.name for each in (*references, pool.spec.backend) if each.secret_ref}
        bodies = await self._bodies(observed, {("Secret", name) for name in names}, pool)
        logins = [login_of(each, bodies["Secret", each.secret_ref.name]) for each in references]
        by_user = {user.name: login for user, login in zip(pool.spec.users, logins, strict=False)}
        versions = {named: body["metadata"]["resourceVersion"] if body else "" for named, body in bodies.items()}
        version = hashlib.sha256(repr(sorted(versions.items())).encode()).hexdigest()[:8]
        reading = SecretsRead(
            at=observed.now,
            asked=inputs(observed, pool),
            missing=next((each for each in logins if isinstance(each, Missing)), None)
            or shared_login(by_user)
            or certificates.missing(pool, bodies),
            mounted=mounted_last(observed),
            version=version,
            refresh=observed.view.refresh,
            contents={handle: content_hash(login) for handle, login in by_user.items() if isinstance(login, Login)},
        )
        reading = replace(reading, owed=owed(observed.memory.reading, reading))
        credentials = Credentials(by_user, version, certificates.authorities(pool, bodies))
        secrets = await self._connection_secrets(observed, pool)
        return replace(observed, credentials=credentials, secrets=secrets).remember(reading=reading)

    async def _bodies(
        self, observed: Observed, secrets: set[certificates.Named], pool: ConnectionPool
    ) -> dict[certificates.Named, Object | None]:
        """These Secrets, and the objects with certificates; None for what does not exist."""
        bodies: dict[certificates.Named, Object | None] = {}
        for kind, name in sorted(secrets | certificates.named(pool)):
            if observed.membership is not None and (kind, name) == ("ConfigMap", naming.config_map(observed.view.name)):
                bodies[kind, name] = authority_body(observed.membership)  # which this reconcile is about to write
            else:
                bodies[kind, name] = await self._read(kind, observed.view.namespace, name)
        return bodies

    async def _connection_secrets(self, observed: Observed, pool: ConnectionPool) -> dict[str, WrittenSecret | None]:
        """The pool's connection Secrets by name; None for a wanted one that the pool has not written yet."""
        secrets: dict[str, WrittenSecret | None] = {entry.name: None for entry in connection_secrets(pool)}
        for name in observed.connection_secrets:
            secrets[name] = written_secret(await self._read("Secret", observed.view.namespace, name))
        return secrets

    async def _read(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object; None when it does not exist."""
        try:
            return await self.kube.get(SECRETS if kind == "Secret" else CONFIG_MAPS, namespace, name)
        except errors.NotFound:
            return None
