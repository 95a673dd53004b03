"""Reads the limits of PostgreSQL servers beside all other work: a server that does not answer delays no
server that has answered.

Only the latest answer is remembered. What is in force stands in the server's status.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.postgres_server import Monitoring, PostgresServer
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.kube.resources import SECRETS
from pgbouncer_operator.postgres import NotAsked, ServerAddress, Superuser, Unanswered
from pgbouncer_operator.reconcile.cache.keys import Key, ServerKey
from pgbouncer_operator.reconcile.intervals import NORMAL, Intervals
from pgbouncer_operator.reconcile.server import membership
from pgbouncer_operator.reconcile.server.limits import LimitsReading
from pgbouncer_operator.resources.login import Login, LoginUnavailable, read_login
from pgbouncer_operator.sizing.limits import ServerLimits

logger = logging.getLogger(__name__)

# Servers that are asked at the same time, each by a process of up to 50 MiB. A server that does not answer takes 15 s:
# those that failed, and new ones of which nothing is known yet, wait only for each other.
ANSWERED_AT_ONCE, NEW_AT_ONCE, FAILED_AT_ONCE = 2, 1, 1

Ask = Callable[[ServerAddress, Login], Awaitable[ServerLimits]]


@dataclass(frozen=True, slots=True)
class _Question:
    """Whom to ask, and with which login."""

    namespace: str
    """Namespace of the login's Secret."""
    server: ServerAddress
    """Where PostgreSQL listens."""
    monitoring: Monitoring
    """The spec's monitoring section."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """The latest answer to a question."""

    question: _Question
    """What was asked."""
    reading: LimitsReading
    """What came back."""
    until: float
    """Monotonic seconds until which it counts."""


@dataclass(slots=True)
class LimitsPoller:
    """The latest answer of each server."""

    kube: Kube
    """Reads the login's Secret."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    wake: Callable[[ServerKey], None]
    """Has a server reconciled again."""
    ask: Ask
    """Asks PostgreSQL. It raises Unanswered or Superuser."""
    intervals: Intervals = NORMAL
    """How long an answer counts."""
    _answers: dict[Key, _Answer] = field(default_factory=dict)
    """The latest answer by server."""
    _running: dict[Key, "asyncio.Task[None]"] = field(default_factory=dict)
    """Questions under way by server."""
    _answered: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ANSWERED_AT_ONCE))
    """The lane of servers that answered last time."""
    _new: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(NEW_AT_ONCE))
    """The lane of servers of which nothing is known."""
    _failed: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(FAILED_AT_ONCE))
    """The lane of servers that gave no limits last time."""

    def latest(self, server: PostgresServer, authority: str | None) -> LimitsReading | None:
        """What PostgreSQL answered last; None until it has answered. Asks again once the answer no longer counts.

        authority: the server's CA in PEM, None while unknown.
        """
        key, monitoring = (server.metadata.namespace, server.metadata.name), server.spec.monitoring
        if monitoring is None:
            self.forget(key)
            return None
        if authority is None and _own_authority(server):
            return None  # without its CA the server cannot be verified; the status says what is wrong with the CA
        question = _Question(key[0], _where(server, monitoring, authority), monitoring)
        answer = self._answers.get(key)
        if answer is not None and answer.question != question:
            answer = None
            self.forget(key)  # so that the question under way wakes the server, which then asks this one
        if key not in self._running and (answer is None or self.clock() >= answer.until):
            self._running[key] = asyncio.create_task(self._read(key, question), name=f"limits of {'/'.join(key)}")
        return answer.reading if answer else None

    def again(self, server: ServerKey) -> None:
        """Ask at the next look: the server was unreachable, and may have come back with other limits."""
        answer = self._answers.get(server.plain)
        if answer is not None:
            self._answers[server.plain] = _Answer(answer.question, answer.reading, self.clock())

    def forget(self, key: Key) -> None:
        """Drop the answer of a server that no longer exists or is no longer asked."""
        self._answers.pop(key, None)

    async def close(self) -> None:
        """End all questions."""
        running = tuple(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _read(self, key: Key, question: _Question) -> None:
        try:
            reading = await self._reading(key, question)
            before = self._answers.get(key)
            lasts = self.intervals.limits if reading.limits else self.intervals.failed_limits
            self._answers[key] = _Answer(question, reading, self.clock() + lasts)
            if before is None or before.question != question or before.reading != reading:
                self.wake(ServerKey(*key))
        finally:
            self._running.pop(key, None)

    def _lane(self, key: Key) -> asyncio.Semaphore:
        last = self._answers.get(key)
        if last is None:
            return self._new
        return self._answered if last.reading.limits else self._failed

    async def _reading(self, key: Key, question: _Question) -> LimitsReading:
        where = f"{question.server.host}:{question.server.port}"
        try:
            login = await self._login(question)  # a missing Secret waits in no lane
            async with self._lane(key):
                return LimitsReading(await self.ask(question.server, login))
        except LoginUnavailable as error:
            return LimitsReading(None, Reason.LIMITS_UNKNOWN, str(error))
        except errors.ApiError as error:
            message = f"The API server failed: {type(error).__name__}. The operator tries again."
            return LimitsReading(None, Reason.LIMITS_UNKNOWN, message)
        except (Unanswered, NotAsked) as error:
            return LimitsReading(None, Reason.LIMITS_UNKNOWN, _unread(where, error))
        except Superuser:
            message = (
                f"The login of Secret {question.monitoring.secret_ref.name} is a superuser at {where}; its answer is "
                "not used. Use a role that is no superuser and has pg_monitor."
            )
            return LimitsReading(None, Reason.LOGIN_IS_SUPERUSER, message)
        except Exception as error:  # its text may hold secret values
            logger.error("Could not read limits", extra={"server": where, "error": type(error).__name__})
            return LimitsReading(None, Reason.LIMITS_UNKNOWN, f"{where} could not be asked: {type(error).__name__}.")

    async def _login(self, question: _Question) -> Login:
        name = question.monitoring.secret_ref.name
        try:
            body = await self.kube.get(SECRETS, question.namespace, name)
        except errors.NotFound:
            body = None
        except errors.Forbidden:
            message = f"The operator may not read Secret {name}. Grant it get on that Secret."
            raise LoginUnavailable(Reason.LIMITS_UNKNOWN, message) from None
        return read_login(question.monitoring, "monitoring", body)


def _unread(where: str, error: Unanswered | NotAsked) -> str:
    if isinstance(error, Unanswered):
        return f"{where} did not give its limits: {error}."
    return (
        f"The operator has no process to ask {where} for its limits: {error}. Raise the limits of memory, processes "
        "and open files of the operator's container; it tries again."
    )


def _where(server: PostgresServer, monitoring: Monitoring, authority: str | None) -> ServerAddress:
    return ServerAddress(
        host=membership.host(server),
        port=server.spec.port,
        database=monitoring.database,
        sslmode=server.spec.backend.tls_mode.value,
        authority=authority or "",
    )


def _own_authority(server: PostgresServer) -> bool:
    ca = server.spec.backend.ca
    return ca is not None and not ca.system
