"""The users' Secrets of a pool: when they are read, what they hold, and which pods still mount old content. Pure."""

import hashlib
from dataclasses import replace

from pgbouncer_operator.api.access import AuthQuery, User
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.kube.client import Object
from pgbouncer_operator.protocol.reasons import BackendReason
from pgbouncer_operator.reconcile.cache.projections import controller
from pgbouncer_operator.reconcile.memory import Missing, SecretsRead
from pgbouncer_operator.reconcile.observed import Observed, WrittenSecret
from pgbouncer_operator.reconcile.server.membership import authority_body
from pgbouncer_operator.resources.connection_secret import secret_inputs
from pgbouncer_operator.resources.login import Login, LoginUnavailable, read_login

READ_AGAIN = 600.0  # seconds after which the users' Secrets are read again without a reason


def _asked(observed: Observed, pool: ConnectionPool) -> str:
    """What is wanted of Secrets and certificates: another value asks for a read."""
    member = observed.membership
    return secret_inputs(pool) + (authority_body(member)["metadata"]["resourceVersion"] if member else "")


def should_read(observed: Observed, asked: str) -> bool:
    """The users' Secrets are read at first, when the spec asks for others or a mounted one changed, and in trouble.

    asked: `secret_inputs` of the spec. A change of anything else costs no read, for a thousand pools neither.
    """
    reading = observed.memory.reading
    if (
        reading is None
        or reading.missing
        or observed.memory.refusals
        or reading.asked != asked
        or reading.refresh != observed.view.refresh
    ):
        return True
    trial = observed.memory.trial
    if trial is not None and trial.again is not None:
        return True  # what failed at one pod is tried again as soon as a Secret has changed
    mounted = _mounted(observed)
    changed = any(mounted[each] != value for each, value in reading.mounted.items() if each in mounted)
    states = [state for state in observed.states.values() if state]
    lacking = any(finding.ok is False for state in states for finding in state.users.values())
    # A refused login is often mended in the Secret, of which kubelet would tell the pods after a minute or more.
    refused = any(state.backend.reason == BackendReason.REFUSED_LOGIN for state in states)
    return changed or lacking or refused or observed.now - reading.at > READ_AGAIN


def owed(before: SecretsRead | None, now: SecretsRead) -> dict[tuple[str, str], str]:
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


def _acquainted(observed: Observed) -> Observed:
    """Remember what pods have mounted that were not there at the last read: their next change will be news."""
    reading = observed.memory.reading
    new = {each: value for each, value in _mounted(observed).items() if reading and each not in reading.mounted}
    if reading is None or not new:
        return observed
    return observed.remember(reading=replace(reading, mounted={**reading.mounted, **new}))


def _mounted(observed: Observed) -> dict[tuple[str, str], str]:
    """The generations of users' Secrets by pod and handle, and of certificates by pod and /ca or /tls: no handle."""
    found: dict[tuple[str, str], str] = {}
    for uid, state in observed.states.items():
        if state is not None:
            found |= {(uid, handle): finding.generation for handle, finding in state.users.items()}
            found |= {(uid, f"/{volume}"): generation for volume, generation in state.certificates.items()}
    return found


def mounted_last(observed: Observed) -> dict[tuple[str, str], str]:
    """What pods have mounted; for one that does not answer just now, what it had when it last did."""
    reading = observed.memory.reading
    silent = {pod.uid for pod in observed.pods if observed.states.get(pod.uid) is None}
    before = {key: value for key, value in reading.mounted.items() if key[0] in silent} if reading else {}
    return before | _mounted(observed)


def _written(body: Object | None) -> WrittenSecret | None:
    if body is None:
        return None
    metadata = body["metadata"]
    owner = controller(metadata).get("uid", "")
    return WrittenSecret(metadata["uid"], metadata["resourceVersion"], owner, body)


def _login(user: User | AuthQuery, body: Object | None) -> Login | Missing:
    """The login and password that a user's Secret holds, or a sentence about what it lacks; never a value."""
    path = "authQuery" if isinstance(user, AuthQuery) else f"users[{user.name}]"
    try:
        login = read_login(user, path, body)
    except LoginUnavailable as error:
        return Missing(error.reason, str(error))
    # PgBouncer's auth file has one line for each login and no escape for a line break.
    if any(character < " " or character == "\x7f" for character in login.username + login.password):
        message = f"Secret {user.secret_ref.name}: login or password has a line break or control character. Remove it."
        return Missing(Reason.SECRET_VALUE_INVALID, message)
    return login
