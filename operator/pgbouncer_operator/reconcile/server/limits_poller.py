"""Reads the limits of servers beside all other work: a server that does not answer holds nobody up.

What is remembered is only the latest answer; what is in force stands in the server's status.
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
from pgbouncer_operator.postgres import ServerAddress, Superuser, Unanswered
from pgbouncer_operator.reconcile.cache.keys import Key, ServerKey
from pgbouncer_operator.reconcile.server import membership
from pgbouncer_operator.reconcile.server.limits import LimitsReading
from pgbouncer_operator.resources.login import Login, LoginUnavailable, read_login
from pgbouncer_operator.sizing.limits import ServerLimits

logger = logging.getLogger(__name__)

LIMITS_LAST = 55.0  # seconds that an answer counts: a little less than there are between two looks at rest
FAILED_LAST = 15.0  # the same of a read that failed
INSIST = 0.2  # seconds until what was cancelled is cancelled again: psycopg asks a server first, frozen or not
AT_ONCE = 8  # servers that are asked at the same time

Ask = Callable[[ServerAddress, Login], Awaitable[ServerLimits]]


@dataclass(frozen=True, slots=True)
class _Question:
    namespace: str
    server: ServerAddress
    monitoring: Monitoring


@dataclass(frozen=True, slots=True)
class _Answer:
    question: _Question
    reading: LimitsReading
    until: float


@dataclass(slots=True)
class LimitsPoller:
    """The latest answer of each server. clock: monotonic seconds. wake: has a server looked at again. ask: asks it."""

    kube: Kube
    clock: Callable[[], float]
    wake: Callable[[ServerKey], None]
    ask: Ask
    _answers: dict[Key, _Answer] = field(default_factory=dict)
    _running: dict[Key, "asyncio.Task[None]"] = field(default_factory=dict)
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def latest(self, server: PostgresServer, authority: str | None) -> LimitsReading | None:
        """What the server said, None until it has answered; asks again when that was long ago. authority: its CA."""
        key, monitoring = (server.metadata.namespace, server.metadata.name), server.spec.monitoring
        if monitoring is None:
            self.forget(key)
            return None
        if authority is None and _own_authority(server):
            return None  # whom to believe is not known yet; what is wrong with the CA is told
        question = _Question(key[0], _where(server, monitoring, authority), monitoring)
        known = self._answers.get(key)
        if known is not None and known.question != question:
            known = None
            self.forget(key)  # so that whatever is under way wakes the server, which then asks this
        if key not in self._running and (known is None or self.clock() >= known.until):
            self._running[key] = asyncio.create_task(self._read(key, question), name=f"limits of {'/'.join(key)}")
        return known.reading if known else None

    def again(self, server: ServerKey) -> None:
        """Ask at the next look: the server has been away, and may have come back with other limits."""
        known = self._answers.get(server.plain)
        if known is not None:
            self._answers[server.plain] = _Answer(known.question, known.reading, self.clock())

    def forget(self, key: Key) -> None:
        """The server is no more, or is not asked any more."""
        self._answers.pop(key, None)

    async def close(self) -> None:
        """End what is under way."""
        running = set(self._running.values())
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=INSIST)

    async def _read(self, key: Key, question: _Question) -> None:
        try:
            async with self._gate:
                reading = await self._reading(question)
            before = self._answers.get(key)
            lasts = LIMITS_LAST if reading.limits else FAILED_LAST
            self._answers[key] = _Answer(question, reading, self.clock() + lasts)
            if before is None or before.question != question or before.reading != reading:
                self.wake(ServerKey(*key))
        finally:
            self._running.pop(key, None)

    async def _reading(self, question: _Question) -> LimitsReading:
        where = f"{question.server.host}:{question.server.port}"
        try:
            return LimitsReading(await self.ask(question.server, await self._login(question)))
        except LoginUnavailable as error:
            return LimitsReading(None, Reason.LIMITS_UNKNOWN, str(error))
        except errors.ApiError as error:
            return LimitsReading(None, Reason.LIMITS_UNKNOWN, f"The API server failed: {type(error).__name__}.")
        except Unanswered as error:
            return LimitsReading(None, Reason.LIMITS_UNKNOWN, f"{where} did not tell its limits: {error}.")
        except Superuser:
            message = f"The login of Secret {question.monitoring.secret_ref.name} is a superuser at {where}; its answer"
            return LimitsReading(
                None, Reason.LOGIN_IS_SUPERUSER, f"{message} is not used. Give a role with pg_monitor."
            )
        except Exception as error:  # its text could hold anything
            logger.error("Could not read limits", extra={"server": where, "error": type(error).__name__})
            return LimitsReading(None, Reason.LIMITS_UNKNOWN, f"{where} could not be asked: {type(error).__name__}.")

    async def _login(self, question: _Question) -> Login:
        name = question.monitoring.secret_ref.name
        try:
            body = await self.kube.get(SECRETS, question.namespace, name)
        except errors.NotFound:
            body = None
        except errors.Forbidden:
            message = f"The operator may not read Secret {name}. Give it get on that Secret."
            raise LoginUnavailable(Reason.LIMITS_UNKNOWN, message) from None
        return read_login(question.monitoring, "monitoring", body)


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
