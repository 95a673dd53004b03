"""One look at a pool: from the stores, from the agents, and, rarely, from the users' Secrets."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.api.access import AuthQuery, User
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool, InvalidSpec
from pgbouncer_operator.api.status import previous
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube, Object
from pgbouncer_operator.kube.resources import CONFIG_MAPS, SECRETS
from pgbouncer_operator.reconcile import authorities
from pgbouncer_operator.reconcile.agents import Agents
from pgbouncer_operator.reconcile.ledger_file import ledger
from pgbouncer_operator.reconcile.membership import authority_body, budgeted, resolve, with_service
from pgbouncer_operator.reconcile.observed import (
    ChildKey,
    Credentials,
    Membership,
    Memory,
    Missing,
    Observed,
    Reading,
    WrittenSecret,
)
from pgbouncer_operator.reconcile.projections import ChildView, PoolView, controller
from pgbouncer_operator.reconcile.specification import read
from pgbouncer_operator.reconcile.traffic import pause
from pgbouncer_operator.reconcile.triggers import Key
from pgbouncer_operator.reconcile.world import World
from pgbouncer_operator.resources.connection_secret import Login, connection_secrets, secret_inputs
from pgbouncer_operator.sizing.allocation import Entry

READ_AGAIN = 600.0  # seconds after which the users' Secrets are read again without a reason


@dataclass(frozen=True, slots=True)
class Observer:
    """Looks. clock: monotonic seconds; today: RFC 3339 in UTC; read_secrets: False takes Secrets out of sight."""

    kube: Kube
    agents: Agents
    world: World
    clock: Callable[[], float]
    today: Callable[[], str]
    read_secrets: bool

    async def look(self, key: Key, memory: Memory) -> Observed | None:
        """Everything one reconcile needs; None when there is no such pool. ApiError when a read fails: unknown."""
        view = self.world.pools.get(key)
        if view is None:
            self.world.ended.pop(key, None)
            return None
        children = self._children(key, view.uid)
        pods = self.world.pods.find(key)
        spec, member = self._resolved(view)
        if member is not None and member.obstacle is None:
            view = with_service(view, self.world.servers.found(view))
        if pods:
            await self.world.slices.follow(self.kube, view.backend)
        await self.world.clients.follow(self.kube, view.namespace, view.clients)
        states = await self.agents.ask([pod for pod in pods if not pod.finished])
        today = self.today()
        seen = Observed(
            view=view,
            spec=spec,
            status=previous({"status": _loads(view.status)}),
            children=children,
            pods=pods,
            states=states,
            ledger=ledger(children.get(("ConfigMap", naming.grants_config_map(view.name))), pods, states),
            credentials=None,
            secrets=None,
            memory=memory,
            now=self.clock(),
            today=today,
            endpoints=self.world.slices.ready(view.backend),
            pause=pause(spec, children.get(("ConfigMap", naming.config_map(view.name))), today),
            clients=self.world.clients.seen(view.namespace, view.clients),
            membership=member,
        )
        seen = replace(seen, ended=self._ended(key, seen), former=self._former(seen))
        if not self.read_secrets or isinstance(seen.spec, InvalidSpec) or view.deleting:
            return seen
        if not should_read(seen, _asked(seen, seen.spec)):
            return _acquainted(seen)
        return await self._with_secrets(seen, seen.spec)

    def _ended(self, key: Key, seen: Observed) -> frozenset[str]:
        """Pods whose end is known; also of those that are looked at for the first time, and in no ledger yet."""
        known = {pod.uid for pod in seen.pods}.union(seen.ledger.grants.pods if seen.ledger else ())
        return self.world.ended_of(key, known)

    def _former(self, seen: Observed) -> Entry | None:
        """What the server that the ledger was made for lets the pool hold, where the spec names another one."""
        at = seen.ledger.grants.server if seen.ledger else ""
        if not at or (seen.membership is not None and seen.membership.server == at):
            return None
        namespace, _, name = at.partition("/")
        server = self.world.servers.store.get((namespace, name))
        entry = server.allocations.entries.get(f"{seen.view.namespace}/{seen.view.name}") if server else None
        return entry if entry is not None and entry.uid == seen.view.uid else None

    def _children(self, key: Key, uid: str) -> dict[ChildKey, ChildView]:
        found = (child for store in self.world.children.values() for child in store.find(key))
        return {(child.kind, child.name): child for child in found if child.owner == uid}

    def _resolved(self, view: PoolView) -> tuple[ConnectionPool | InvalidSpec, Membership | None]:
        """The spec, with what its PostgresServer adds to it."""
        spec, servers = parsed(view), self.world.servers
        if isinstance(spec, InvalidSpec):
            return spec, None
        if spec.spec.backend.server_ref is not None:
            return resolve(spec, view, servers.found(view))
        owner = servers.budgeted(view)
        return budgeted(owner) if owner else (spec, None)

    async def _with_secrets(self, seen: Observed, pool: ConnectionPool) -> Observed:
        logins: list[User | AuthQuery] = [*pool.spec.users]
        if pool.spec.auth_query:
            logins.append(pool.spec.auth_query)
        bodies: dict[tuple[str, str], Object | None] = {}
        for kind, name in sorted({("Secret", each.secret_ref.name) for each in logins} | authorities.named(pool)):
            if seen.membership is not None and (kind, name) == ("ConfigMap", naming.config_map(seen.view.name)):
                bodies[kind, name] = authority_body(seen.membership)  # what this look is about to write
            else:
                bodies[kind, name] = await self._read(kind, seen.view.namespace, name)
        found = [_login(each, bodies["Secret", each.secret_ref.name]) for each in logins]
        by_user = {user.name: login for user, login in zip(pool.spec.users, found, strict=False)}
        versions = {named: body["metadata"]["resourceVersion"] if body else "" for named, body in bodies.items()}
        version = hashlib.sha256(repr(sorted(versions.items())).encode()).hexdigest()[:8]
        missing = next((each for each in found if isinstance(each, Missing)), authorities.missing(pool, bodies))
        secrets: dict[str, WrittenSecret | None] = {entry.name: None for entry in connection_secrets(pool)}
        for name in seen.made:
            secrets[name] = _written(await self._read("Secret", seen.view.namespace, name))
        contents = {handle: _content(login) for handle, login in by_user.items() if isinstance(login, Login)}
        asked, mounted = _asked(seen, pool), mounted_last(seen)
        reading = Reading(seen.now, asked, missing, mounted, version, seen.view.refresh, contents)
        reading = replace(reading, owed=owed(seen.memory.reading, reading))
        credentials = Credentials(by_user, version, authorities.authorities(pool, bodies))
        seen = replace(seen, credentials=credentials, secrets=secrets)
        return seen.remember(reading=reading)

    async def _read(self, kind: str, namespace: str, name: str) -> Object | None:
        try:
            return await self.kube.get(SECRETS if kind == "Secret" else CONFIG_MAPS, namespace, name)
        except errors.NotFound:
            return None


def _asked(seen: Observed, pool: ConnectionPool) -> str:
    """What is wanted of Secrets and certificates: another value asks for a read."""
    member = seen.membership
    return secret_inputs(pool) + (authority_body(member)["metadata"]["resourceVersion"] if member else "")


def parsed(view: PoolView) -> ConnectionPool | InvalidSpec:
    """The pool as its user wrote it, or what is wrong with it."""
    metadata = {"name": view.name, "namespace": view.namespace, "uid": view.uid, "generation": view.generation}
    try:
        return read({"metadata": metadata, "spec": _loads(view.spec)})
    except InvalidSpec as error:
        return error


def _loads(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def should_read(seen: Observed, asked: str) -> bool:
    """The users' Secrets are read at first, when the spec asks for others or a mounted one changed, and in trouble.

    asked: `secret_inputs` of the spec. A change of anything else costs no read, for a thousand pools neither.
    """
    reading = seen.memory.reading
    if (
        reading is None
        or reading.missing
        or seen.memory.refusals
        or reading.asked != asked
        or reading.refresh != seen.view.refresh
    ):
        return True
    trial = seen.memory.trial
    if trial is not None and trial.again is not None:
        return True  # what failed at one pod is tried again as soon as a Secret has changed
    mounted = _mounted(seen)
    changed = any(mounted[each] != value for each, value in reading.mounted.items() if each in mounted)
    states = [state for state in seen.states.values() if state]
    lacking = any(finding.ok is False for state in states for finding in state.users.values())
    # A refused login is often mended in the Secret, of which kubelet would tell the pods after a minute or more.
    refused = any(state.backend.ok is False and state.backend.reason == "BackendRefusedLogin" for state in states)
    return changed or lacking or refused or seen.now - reading.at > READ_AGAIN


def owed(before: Reading | None, now: Reading) -> dict[tuple[str, str], str]:
    """What pods still have mounted of Secrets that have another content now.

    kubelet watches Secrets apart from pods: a pod that is told at once may be given the old content once more.
    """
    if before is None:
        return {}
    # Another reference of a Secret rolls the pods: what those on their way have mounted stays as it is.
    same = before.asked == now.asked
    changed = {handle for handle, each in now.contents.items() if same and before.contents.get(handle, each) != each}
    old = {key: value for key, value in now.mounted.items() if before.mounted.get(key) == value}
    return {key: value for key, value in old.items() if key[1] in changed or before.owed.get(key) == value}


def _content(login: Login) -> str:
    return hashlib.sha256(f"{login.username}\0{login.password}".encode()).hexdigest()


def _acquainted(seen: Observed) -> Observed:
    """Remember what pods have mounted that were not there at the last read: their next change will be news."""
    reading = seen.memory.reading
    new = {each: value for each, value in _mounted(seen).items() if reading and each not in reading.mounted}
    if reading is None or not new:
        return seen
    return seen.remember(reading=replace(reading, mounted={**reading.mounted, **new}))


def _mounted(seen: Observed) -> dict[tuple[str, str], str]:
    """The generations of users' Secrets by pod and handle, and of certificates by pod and /ca or /tls: no handle."""
    found: dict[tuple[str, str], str] = {}
    for uid, state in seen.states.items():
        if state is not None:
            found |= {(uid, handle): finding.generation for handle, finding in state.users.items()}
            found |= {(uid, f"/{volume}"): generation for volume, generation in state.certificates.items()}
    return found


def mounted_last(seen: Observed) -> dict[tuple[str, str], str]:
    """What pods have mounted; for one that does not answer just now, what it had when it last did."""
    reading = seen.memory.reading
    silent = {pod.uid for pod in seen.pods if seen.states.get(pod.uid) is None}
    before = {key: value for key, value in reading.mounted.items() if key[0] in silent} if reading else {}
    return before | _mounted(seen)


def _written(body: Object | None) -> WrittenSecret | None:
    if body is None:
        return None
    metadata = body["metadata"]
    owner = controller(metadata).get("uid", "")
    return WrittenSecret(metadata["uid"], metadata["resourceVersion"], owner, body)


def _login(user: User | AuthQuery, body: Object | None) -> Login | Missing:
    """The login and password that a user's Secret holds, or a sentence about what it lacks; never a value."""
    name, field = user.secret_ref.name, "authQuery" if isinstance(user, AuthQuery) else f"users[{user.name}]"
    if body is None:
        return Missing(
            Reason.SECRET_NOT_FOUND, f"Secret {name} does not exist. Create it, or correct {field}.secretRef.name."
        )
    data: Mapping[str, str] = body.get("data") or {}
    username_key = user.username_key or ("username" if "username" in data else "user")
    for key, remedy in ((username_key, "usernameKey"), (user.password_key, "passwordKey")):
        if not data.get(key):
            wanted = "username or user" if remedy == "usernameKey" and user.username_key is None else key
            found = ", ".join(sorted(data)) or "nothing"
            message = f"Secret {name} has no key {wanted}; found: {found}. Set {field}.{remedy}."
            return Missing(Reason.SECRET_KEY_MISSING, message)
    try:
        username, password = (base64.b64decode(data[key]).decode() for key in (username_key, user.password_key))
    except ValueError:
        return Missing(Reason.SECRET_VALUE_INVALID, f"Secret {name}: login or password is not UTF-8 text. Correct it.")
    if any(character < " " or character == "\x7f" for character in username + password):
        message = f"Secret {name}: login or password has a line break or control character. Remove it."
        return Missing(Reason.SECRET_VALUE_INVALID, message)
    return Login(username, password)
