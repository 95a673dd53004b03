"""Sends requests: authentication, timeouts, retries and measurement, on the transport of the official client.

Why not the client's generated API classes: they take 0.3 s to import and several times the CPU for each request. The
transport's `trust_env` is off, because it triples the CPU of a request; a proxy is used if the kubeconfig names one.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException

from pgbouncer_operator import __version__, naming
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.resources import SECRETS, Resource

Object = dict[str, Any]

# Each connection holds at least 256 KiB for TLS. A burst of 1,000 pools takes as long with 16 connections as with 32.
CONNECTIONS = 16
ATTEMPTS = 4
# Seconds. After a longer Retry-After the request fails, and all workers pause (engine.ratelimit.Gate).
LONGEST_RETRY_AFTER = 5.0
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json"
UNSENT = "Unsent"  # reason of an Unavailable whose request was certainly not executed


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request that has ended."""

    verb: str
    plural: str
    code: int
    """HTTP status; 0 if there was no answer."""
    seconds: float
    """Duration of this attempt alone, without the attempts before it."""


def _unobserved(_: Call) -> None: ...


def _nothing() -> None: ...


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """How requests are sent."""

    timeout: float = 12.0
    """Seconds for one attempt."""
    observe: Callable[[Call], None] = _unobserved
    """Called after every attempt."""
    random: Callable[[], float] = random.random
    """Returns numbers in [0, 1) for the jitter of retries."""
    renewed: Callable[[], None] = _nothing
    """Called after another CA was read."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request."""

    verb: str
    """The name of the verb in RBAC rules and metrics."""
    method: str
    resource: Resource
    path: str
    query: Mapping[str, str]
    body: Object | None = None
    content_type: str = JSON

    @property
    def repeatable(self) -> bool:
        """Whether the request may be sent again after an attempt without an answer."""
        # A merge patch and an apply describe the wanted state, so executing them twice changes nothing more. A patch
        # with a resourceVersion fails the second time with a Conflict, after which its sender reads the object again.
        return self.verb in ("get", "list", "apply", "patch")


class Transport:
    """Sends requests. Raises only errors of kube.errors and CancelledError."""

    def __init__(self, configuration: Configuration, limits: RequestOptions) -> None:
        """configuration: a loaded one, which is changed."""
        configuration.connection_pool_maxsize = CONNECTIONS
        configuration.client_session_kwargs = {"trust_env": False}
        configuration.retries = None
        self._client = ApiClient(configuration)
        self._client.user_agent = f"{naming.FIELD_MANAGER}/{__version__}"
        self._limits = limits
        self._trusted = _authority(configuration)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def send(self, request: Request) -> Object:
        """Send a request and return the object of the answer. Failed attempts are repeated where that is safe."""
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
            raise errors.Unavailable(f"Cannot read the credentials: {error}.", reason=UNSENT) from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error, aiohttp.ClientConnectorSSLError | aiohttp.ClientConnectorCertificateError):
                await self._trust_again()
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

    async def _trust_again(self) -> None:
        """Read the CA again if its file has changed: the kubelet renews it, and the client reads it once."""
        now = _authority(self._client.configuration)
        if now == self._trusted:
            return
        try:
            renewed = RESTClientObject(self._client.configuration)
        except (OSError, ValueError):  # half written: the next failure reads it again
            return
        self._trusted, former, self._client.rest_client = now, self._client.rest_client, renewed
        self._limits.renewed()
        await former.close()

    async def _transmit(self, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Accept": JSON, "Content-Type": request.content_type, "User-Agent": self._client.user_agent}
        # Writes the authorization header, and reads the token file again when it is older than a minute.
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], request.path, request.method, None)
        url = self._client.configuration.host + request.path
        if request.query:
            url += "?" + urlencode(request.query)
        response = await self._client.call_api(
            request.method, url, headers, request.body, _request_timeout=aiohttp.ClientTimeout(self._limits.timeout)
        )
        return response.status, response.headers, await response.read()


def _authority(configuration: Configuration) -> bytes:
    """The content of the CA's file; empty without one or while it cannot be read."""
    try:
        return Path(configuration.ssl_ca_cert).read_bytes() if configuration.ssl_ca_cert else b""
    except OSError:
        return b""


def _decode(data: bytes) -> Object:
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise errors.Unavailable("The answer of the API is not a JSON object. Check for a proxy in between.")
    return answer
