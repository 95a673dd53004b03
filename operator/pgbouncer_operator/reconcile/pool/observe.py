"""One look at a pool: from the stores, from the agents, and, rarely, from the users' Secrets."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from pgbouncer_operator import naming
from pgbouncer_operator.api.access import AuthQuery, User
from pgbouncer_operator.api.connection_pool import ConnectionPool, InvalidSpec
from pgbouncer_operator.api.status import previous
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube, Object
from pgbouncer_operator.kube.resources import CONFIG_MAPS, SECRETS
from pgbouncer_operator.reconcile.budget.ledger import ledger
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache
from pgbouncer_operator.reconcile.cache.keys import Key
from pgbouncer_operator.reconcile.cache.views import ChildView, PoolView
from pgbouncer_operator.reconcile.intervals import NORMAL, Intervals
from pgbouncer_operator.reconcile.memory import ChildKey, Memory, Missing, SecretsRead
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
from pgbouncer_operator.reconcile.pool import certificates
from pgbouncer_operator.reconcile.pool.agents import Agents
from pgbouncer_operator.reconcile.pool.secrets import (
    _acquainted,
    _asked,
    _content,
    _login,
    _written,
    mounted_last,
    owed,
    should_read,
)
from pgbouncer_operator.reconcile.server.membership import authority_body, budgeted, resolve, with_service
from pgbouncer_operator.reconcile.specification import parsed
from pgbouncer_operator.resources.connection_secret import connection_secrets
from pgbouncer_operator.resources.login import Login
from pgbouncer_operator.sizing.allocation import Entry


@dataclass(frozen=True, slots=True)
class Observer:
    """Looks. clock: monotonic seconds; today: RFC 3339 in UTC; read_secrets: False takes Secrets out of sight."""

    kube: Kube
    agents: Agents
    world: ClusterCache
    clock: Callable[[], float]
    today: Callable[[], str]
    read_secrets: bool
    intervals: Intervals = NORMAL

    async def look(self, key: Key, memory: Memory) -> Observed | ObservedInvalid | None:
        """Everything one reconcile needs; None when there is no such pool. ApiError when a read fails: unknown."""
        view = self.world.pools.get(key)
        if view is None:
            self.world.ended.pop(key, None)
            return None
        spec, member = self._resolved(view)
        if member is not None and member.obstacle is None:
            view = with_service(view, self.world.servers.of(view))
        common = replace(await self._common(key, view, memory), membership=member)
        common = replace(common, former=self._former(common))
        if isinstance(spec, InvalidSpec):
            return with_spec(common, spec)
        config_map = common.children.get(("ConfigMap", naming.config_map(view.name)))
        observed = replace(with_spec(common, spec), pause=pause(spec, config_map, common.today))
        if not self.read_secrets or view.deleting:
            return observed
        if not should_read(observed, _asked(observed, spec)):
            return _acquainted(observed)
        return await self._with_secrets(observed, spec)

    async def _common(self, key: Key, view: PoolView, memory: Memory) -> Observation:
        """What is observed whatever the spec says. ApiError when a read fails: unknown."""
        children, pods = self._children(key, view.uid), self.world.pods.find(key)
        if pods:
            await self.world.slices.follow(self.kube, view.backend)
        await self.world.clients.follow(self.kube, view.namespace, view.clients)
        states = await self.agents.ask([pod for pod in pods if not pod.finished and not pod.foreign])
        observation = Observation(
            view=view,
            status=previous({"status": json.loads(view.status)}),
            children=children,
            pods=pods,
            states=states,
            ledger=ledger(children.get(("ConfigMap", naming.grants_config_map(view.name))), pods, states),
            credentials=None,
            secrets=None,
            memory=memory,
            now=self.clock(),
            today=self.today(),
            endpoints=self.world.slices.ready(view.backend),
            clients=self.world.clients.replicas(view.namespace, view.clients),
            intervals=self.intervals,
        )
        return replace(observation, ended=self._ended(key, observation))

    def _ended(self, key: Key, observed: Observation) -> frozenset[str]:
        """Pods whose end is known; also of those that are looked at for the first time, and in no ledger yet."""
        known = {pod.uid for pod in observed.pods}.union(observed.ledger.grants.pods if observed.ledger else ())
        return self.world.ended_of(key, known)

    def _former(self, observed: Observation) -> Entry | None:
        """What the server that the ledger was made for lets the pool hold, where the spec names another one."""
        at = observed.ledger.grants.server if observed.ledger else ""
        if not at or (observed.membership is not None and observed.membership.server == at):
            return None
        namespace, _, name = at.partition("/")
        server = self.world.servers.store.get((namespace, name))
        entry = server.allocations.entries.get(f"{observed.view.namespace}/{observed.view.name}") if server else None
        return entry if entry is not None and entry.uid == observed.view.uid else None

    def _children(self, key: Key, uid: str) -> dict[ChildKey, ChildView]:
        found = (child for store in self.world.children.values() for child in store.find(key))
        return {(child.kind, child.name): child for child in found if child.owner == uid}

    def _resolved(self, view: PoolView) -> tuple[ConnectionPool | InvalidSpec, Membership | None]:
        """The spec, with what its PostgresServer adds to it."""
        spec, servers = parsed(view), self.world.servers
        if isinstance(spec, InvalidSpec):
            return spec, None
        if spec.spec.backend.server_ref is not None:
            return resolve(spec, view, servers.of(view))
        owner = servers.budgeted(view)
        return budgeted(owner) if owner else (spec, None)

    async def _with_secrets(self, observed: Observed, pool: ConnectionPool) -> Observed:
        logins: list[User | AuthQuery] = [*pool.spec.users]
        if pool.spec.auth_query:
            logins.append(pool.spec.auth_query)
        bodies: dict[tuple[str, str], Object | None] = {}
        for kind, name in sorted({("Secret", each.secret_ref.name) for each in logins} | certificates.named(pool)):
            if observed.membership is not None and (kind, name) == ("ConfigMap", naming.config_map(observed.view.name)):
                bodies[kind, name] = authority_body(observed.membership)  # what this look is about to write
            else:
                bodies[kind, name] = await self._read(kind, observed.view.namespace, name)
        found = [_login(each, bodies["Secret", each.secret_ref.name]) for each in logins]
        by_user = {user.name: login for user, login in zip(pool.spec.users, found, strict=False)}
        versions = {named: body["metadata"]["resourceVersion"] if body else "" for named, body in bodies.items()}
        version = hashlib.sha256(repr(sorted(versions.items())).encode()).hexdigest()[:8]
        missing = next((each for each in found if isinstance(each, Missing)), certificates.missing(pool, bodies))
        secrets: dict[str, WrittenSecret | None] = {entry.name: None for entry in connection_secrets(pool)}
        for name in observed.made:
            secrets[name] = _written(await self._read("Secret", observed.view.namespace, name))
        contents = {handle: _content(login) for handle, login in by_user.items() if isinstance(login, Login)}
        asked, mounted = _asked(observed, pool), mounted_last(observed)
        reading = SecretsRead(observed.now, asked, missing, mounted, version, observed.view.refresh, contents)
        reading = replace(reading, owed=owed(observed.memory.reading, reading))
        credentials = Credentials(by_user, version, certificates.authorities(pool, bodies))
        observed = replace(observed, credentials=credentials, secrets=secrets)
        return observed.remember(reading=reading)

    async def _read(self, kind: str, namespace: str, name: str) -> Object | None:
        try:
            return await self.kube.get(SECRETS if kind == "Secret" else CONFIG_MAPS, namespace, name)
        except errors.NotFound:
            return None
