"""The users' Secrets of a pool: when to read them, what they hold, and which pods still mount old content. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from pgbouncer_operator.api.access import AuthQuery, User
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.kube.client import Object
from pgbouncer_operator.pgbouncer import userlist
from pgbouncer_operator.protocol.reasons import BackendReason
from pgbouncer_operator.reconcile.cache.projections import controller
from pgbouncer_operator.reconcile.memory import Missing, SecretsRead
from pgbouncer_operator.reconcile.observed import Observed, WrittenSecret
from pgbouncer_operator.reconcile.server.membership import authority_body
from pgbouncer_operator.resources.connection_secret import secret_inputs
from pgbouncer_operator.resources.login import Login, LoginUnavailable, read_login

READ_AGAIN = 600.0  # seconds to the next read of the users' Secrets when nothing asks for one


def inputs(observed: Observed, pool: ConnectionPool) -> str:
    """What the spec wants of Secrets and certificates. Another value causes a read."""
    member = observed.membership
    return secret_inputs(pool) + (authority_body(member)["metadata"]["resourceVersion"] if member else "")


def should_read(observed: Observed, asked: str) -> bool:
    """Whether to read the users' Secrets: at first, when the spec or a mounted Secret has changed, and in trouble.

    asked: the `inputs` of the spec. A change of anything else needs no read, which matters with thousands of pools.
    """
    reading = observed.memory.reading
    if (
        reading is None
        or observed.missing
        or observed.memory.refusals
        or reading.asked != asked
        or reading.refresh != observed.view.refresh
    ):
        return True
    trial = observed.memory.trial
    if trial is not None and trial.again is not None:
        return True  # a candidate that failed is tried again as soon as a Secret has changed
    mounted = _mounted(observed)
    changed = any(mounted[each] != value for each, value in reading.mounted.items() if each in mounted)
    states = [state for state in observed.states.values() if state]
    lacking = any(finding.ok is False for state in states for finding in state.users.values())
    # A refused login is often corrected in the Secret, and kubelet may take a minute or more to bring it to the pods.
    refused = any(state.backend.reason == BackendReason.REFUSED_LOGIN for state in states)
    return changed or lacking or refused or observed.now - reading.at > READ_AGAIN


def owed(before: SecretsRead | None, now: SecretsRead) -> dict[tuple[str, str], str]:
    """The generations that pods still have mounted of Secrets whose content has changed, by pod UID and handle.

    kubelet watches Secrets apart from pods, so a poke right after the change may bring the old content once more.
    """
    if before is None:
        return {}
    # Another reference rolls the pods, and those that still run keep what they have mounted.
    same = before.asked == now.asked
    changed = {handle for handle, each in now.contents.items() if same and before.contents.get(handle, each) != each}
    old = {key: value for key, value in now.mounted.items() if before.mounted.get(key) == value}
    return {key: value for key, value in old.items() if key[1] in changed or before.owed.get(key) == value}


def content_hash(login: Login) -> str:
    """A hash of login and password, for comparison within this process only."""
    return hashlib.sha256(f"{login.username}\0{login.password}".encode()).hexdigest()


def with_new_mounts(observed: Observed) -> Observed:
    """The same look, remembering the mounts of pods that are new since the last read: a later change causes a read."""
    reading = observed.memory.reading
    new = {each: value for each, value in _mounted(observed).items() if reading and each not in reading.mounted}
    if reading is None or not new:
        return observed
    return observed.remember(reading=replace(reading, mounted={**reading.mounted, **new}))


def _mounted(observed: Observed) -> dict[tuple[str, str], str]:
    """Generations of the mounted Secrets by pod UID and handle. Certificates have /ca or /tls instead of a handle."""
    mounted: dict[tuple[str, str], str] = {}
    for uid, state in observed.states.items():
        if state is not None:
            mounted |= {(uid, handle): finding.generation for handle, finding in state.users.items()}
            mounted |= {(uid, f"/{volume}"): generation for volume, generation in state.certificates.items()}
    return mounted


def mounted_last(observed: Observed) -> dict[tuple[str, str], str]:
    """What pods have mounted; of a pod that does not answer, what it had mounted when it last answered."""
    reading = observed.memory.reading
    silent = {pod.uid for pod in observed.pods if observed.states.get(pod.uid) is None}
    before = {key: value for key, value in reading.mounted.items() if key[0] in silent} if reading else {}
    return before | _mounted(observed)


def written_secret(body: Object | None) -> WrittenSecret | None:
    """A connection Secret as it is in the cluster; None when there is none."""
    if body is None:
        return None
    metadata = body["metadata"]
    owner = controller(metadata).get("uid", "")
    return WrittenSecret(metadata["uid"], metadata["resourceVersion"], owner, body)


def login_of(user: User | AuthQuery, body: Object | None) -> Login | Missing:
    """The login and password that a user's Secret holds, or what it lacks, in a sentence without any value."""
    path = "authQuery" if isinstance(user, AuthQuery) else f"users[{user.name}]"
    try:
        login = read_login(user, path, body)
    except LoginUnavailable as error:
        return Missing(error.reason, str(error))
    if problem := userlist.check(login.username, login.password):
        return Missing(Reason.SECRET_VALUE_INVALID, f"Secret {user.secret_ref.name}: {problem}.")
    return login


def shared_login(logins: Mapping[str, Login | Missing]) -> Missing | None:
    """What to do about two entries of spec.users whose Secrets hold one login with two passwords; None without.

    logins: by users[].name. PgBouncer has one entry for a login. With one password, the agent merges the entries.
    """
    first: dict[str, tuple[str, str]] = {}
    for handle, login in logins.items():
        if isinstance(login, Missing):
            continue
        other, password = first.setdefault(login.username, (handle, login.password))
        if password != login.password:
            message = (
                f"The Secrets of users[{other}] and users[{handle}] hold the same login with different passwords, and "
                "PgBouncer has one entry for a login. Remove one of the two, or correct its Secret."
            )
            return Missing(Reason.SECRET_VALUE_INVALID, message)
    return None
