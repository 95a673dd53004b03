"""Sending requests: authentication, timeouts, retries, measurements. The official client's transport underneath.

Why not the generated API classes: they cost 0.3 s of start and several times the CPU per request, and the transport's
`trust_env` alone triples the cost of a request. A proxy is honoured where the kubeconfig names one.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException

from pgbouncer_operator import __version__, naming
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.resources import SECRETS, Resource

Object = dict[str, Any]

# Each holds 256 KiB and more for TLS. On two cores, a burst of 1,000 pools takes as long with 16 as with 32.
CONNECTIONS = 16
ATTEMPTS = 4
# A longer Retry-After is not waited for here: the caller stops everybody instead (engine.ratelimit.Gate).
LONGEST_RETRY_AFTER = 5.0
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json"
UNSENT = "Unsent"  # the reason of an Unavailable whose request certainly did nothing


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request that has ended. `code` 0: no answer. `seconds` without the retries before it."""

    verb: str
    plural: str
    code: int
    seconds: float


def _unobserved(_: Call) -> None: ...


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """`timeout`: seconds for one request; `observe` hears of each; `random` in [0, 1) jitters retries."""

    timeout: float = 12.0
    observe: Callable[[Call], None] = _unobserved
    random: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `verb` as RBAC and metrics name it."""

    verb: str
    method: str
    resource: Resource
    path: str
    query: Mapping[str, str]
    body: Object | None = None
    content_type: str = JSON

    @property
    def repeatable(self) -> bool:
        """Whether doing it twice is doing it once."""
        # A merge patch and an apply say what is to be, so doing them twice is doing them once. A patch that carries a
        # resourceVersion would fail the second time with a Conflict, which is what its sender asked for.
        return self.verb in ("get", "list", "apply", "patch")


class Transport:
    """Sends requests. Errors are those of kube.errors, and nothing else but CancelledError."""

    def __init__(self, configuration: Configuration, limits: RequestOptions) -> None:
        """Takes a loaded configuration."""
        configuration.connection_pool_maxsize = CONNECTIONS
        configuration.client_session_kwargs = {"trust_env": False}
        configuration.retries = None
        self._client = ApiClient(configuration)
        self._client.user_agent = f"{naming.FIELD_MANAGER}/{__version__}"
        self._limits = limits

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def send(self, request: Request) -> Object:
        """The object that `request` was answered with, after repeating it where that is safe."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(request)
            except errors.TooManyRequests as error:
                pause = error.retry_after if error.retry_after is not None else 1.0
                if attempt == ATTEMPTS or pause > LONGEST_RETRY_AFTER:
                    raise
            except errors.Unavailable as error:
                pause = error.retry_after or 0.1 * 2**attempt
                if (
                    attempt == ATTEMPTS
                    or pause > LONGEST_RETRY_AFTER
                    or not (request.repeatable or error.reason == UNSENT)
                ):
                    raise
            await asyncio.sleep(pause * (1.0 + 0.25 * self._limits.random()))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, request: Request) -> Object:
        started = time.monotonic()
        code = 0
        try:
            async with asyncio.timeout(self._limits.timeout):
                code, headers, data = await self._transmit(request)
        except TimeoutError:
            raise errors.Unavailable(
                f"The API did not answer within {self._limits.timeout:g} seconds.", reason="Timeout"
            ) from None
        except ConfigException as error:
            raise errors.Unavailable(f"Cannot read our credentials: {error}.", reason=UNSENT) from None
        except aiohttp.ClientConnectorError as error:
            raise errors.Unavailable(f"Cannot connect to the API: {error}.", reason=UNSENT) from None
        except (aiohttp.ClientError, OSError) as error:
            raise errors.Unavailable(
                f"The connection to the API broke: {type(error).__name__}.", reason="Connection"
            ) from None
        finally:
            self._limits.observe(Call(request.verb, request.resource.plural, code, time.monotonic() - started))
        if code >= 400:
            raise errors.from_response(code, data, headers.get("Retry-After"), request.resource is SECRETS)
        return _decode(data)

    async def _transmit(self, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Accept": JSON, "Content-Type": request.content_type, "User-Agent": self._client.user_agent}
        # Reads the token file again when it is time; writes the authorization header.
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], request.path, request.method, None)
        url = self._client.configuration.host + request.path
        if request.query:
            url += "?" + urlencode(request.query)
        response = await self._client.call_api(
            request.method, url, headers, request.body, _request_timeout=aiohttp.ClientTimeout(self._limits.timeout)
        )
        return response.status, response.headers, await response.read()


def _decode(data: bytes) -> Object:
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise errors.Unavailable("The API answered with something that is no JSON object: a proxy may be in between.")
    return answer
