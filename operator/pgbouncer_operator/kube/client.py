"""A small client of the Kubernetes API on the official client's transport. Objects are plain dicts.

Why not the generated API classes: they cost 0.3 s of start and several times the CPU per request, and the transport's
`trust_env` alone triples the cost of a request. A proxy is honoured where the kubeconfig names one.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, incluster_config, kube_config

from pgbouncer_operator import __version__, naming
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.resources import SECRETS, Resource

Object = dict[str, Any]

CONNECTIONS = 32
ATTEMPTS = 4
# A longer Retry-After is not waited for here: the caller stops everybody instead (engine.ratelimit.Gate).
PATIENCE = 5.0
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
UNSENT = "Unsent"  # the reason of an Unavailable whose request certainly did nothing
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request that has ended. `code` 0: no answer. `seconds` without the retries before it."""

    verb: str
    plural: str
    code: int
    seconds: float


def _unobserved(_: Call) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """`timeout`: seconds for one request; `chunk`: objects per page of a list; `random` in [0, 1) jitters retries."""

    timeout: float = 12.0
    chunk: int = 500
    observe: Callable[[Call], None] = _unobserved
    random: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Listing:
    """A complete list and the resource version at which it was true."""

    items: list[Object]
    resource_version: int


@dataclass(frozen=True, slots=True)
class Selection:
    """What to list. `cached`: any recent state will do (`resourceVersion=0`: served from memory, may be stale)."""

    namespace: str = ""
    labels: str = ""
    fields: str = ""
    cached: bool = False


@dataclass(frozen=True, slots=True)
class _Request:
    verb: str
    method: str
    resource: Resource
    path: str
    query: Mapping[str, str]
    body: Object | None = None
    content_type: str = JSON

    @property
    def repeatable(self) -> bool:
        # A merge patch and an apply say what is to be, so doing them twice is doing them once. A patch that carries a
        # resourceVersion would fail the second time with a Conflict, which is what its sender asked for.
        return self.verb in ("get", "list", "apply", "patch")


class Kube:
    """Reads and writes objects. Errors are those of kube.errors, and nothing else but CancelledError."""

    def __init__(self, configuration: Configuration, limits: Limits) -> None:
        """Takes a loaded configuration; see `in_cluster` and `from_kubeconfig`."""
        configuration.connection_pool_maxsize = CONNECTIONS
        configuration.client_session_kwargs = {"trust_env": False}
        configuration.retries = None
        self._client = ApiClient(configuration)
        self._client.user_agent = f"{naming.FIELD_MANAGER}/{__version__}"
        self._limits = limits

    @classmethod
    def in_cluster(cls, limits: Limits, credentials: Path, environ: Mapping[str, str]) -> Self:
        """A client with the pod's service account; the token is read again every minute.

        `credentials` is the directory of `token` and `ca.crt`. Raises OSError or ConfigException if they are missing.
        """
        configuration = Configuration()
        incluster_config.InClusterConfigLoader(
            token_filename=str(credentials / "token"), cert_filename=str(credentials / "ca.crt"), environ=environ
        ).load_and_set(configuration)
        return cls(configuration, limits)

    @classmethod
    async def from_kubeconfig(cls, limits: Limits, path: Path, context: str | None = None) -> Self:
        """A client with a kubeconfig file. Raises ConfigException if it cannot be used."""
        configuration = Configuration()
        await kube_config.load_kube_config(
            config_file=str(path), context=context, client_configuration=configuration, persist_config=False
        )
        return cls(configuration, limits)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Read one object from the quorum. Raises NotFound."""
        return await self._send(_Request("get", "GET", resource, resource.path(namespace, name), {}))

    async def list(self, resource: Resource, selection: Selection) -> Listing:
        """Read all objects that `selection` asks for, page by page. Starts over once if a page has expired."""
        try:
            return await self._list(resource, selection)
        except errors.Expired:
            return await self._list(resource, selection)

    async def create(self, resource: Resource, body: Object) -> Object:
        """Create an object. Raises AlreadyExists; never repeated after it may have been done."""
        path = resource.path(body["metadata"].get("namespace", ""))
        query = {"fieldManager": naming.FIELD_MANAGER}
        return await self._send(_Request("create", "POST", resource, path, query, body))

    async def apply(self, resource: Resource, body: Object, force: bool = True, subresource: str = "") -> Object:
        """Server-side apply of exactly the fields in `body`; fields we applied before and that are gone are removed.

        With `metadata.uid` or `metadata.resourceVersion` in `body` nothing is created and another object is a Conflict.
        """
        metadata = body["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
        query = {"fieldManager": naming.FIELD_MANAGER, "force": "true" if force else "false"}
        return await self._send(_Request("apply", "PATCH", resource, path, query, body, APPLY))

    async def patch_status(self, resource: Resource, body: Object) -> Object:
        """Server-side apply of `status`. Raises NotFound if the object is gone: status never creates one."""
        return await self.apply(resource, body, subresource="status")

    async def replace(self, resource: Resource, body: Object, subresource: str = "") -> Object:
        """Replace an object as a whole, if it still has `metadata.resourceVersion`. Raises Conflict."""
        metadata = body["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
        query = {"fieldManager": naming.FIELD_MANAGER}
        return await self._send(_Request("update", "PUT", resource, path, query, body))

    async def merge_patch(self, resource: Resource, body: Object, subresource: str = "") -> Object:
        """JSON merge patch: `body` names the object in `metadata` and holds what is to change; null removes.

        With `metadata.resourceVersion` another version is a Conflict, with `metadata.uid` another object is.
        """
        metadata = body["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
        query = {"fieldManager": naming.FIELD_MANAGER}
        return await self._send(_Request("patch", "PATCH", resource, path, query, body, MERGE))

    async def delete(self, resource: Resource, body: Object) -> None:
        """Delete exactly the object whose `metadata` is given: uid and resourceVersion must still be the same.

        Raises NotFound or Conflict. What it owns is deleted in the background.
        """
        metadata = body["metadata"]
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        }
        path = resource.path(metadata.get("namespace", ""), metadata["name"])
        await self._send(_Request("delete", "DELETE", resource, path, {}, options))

    async def _list(self, resource: Resource, selection: Selection) -> Listing:
        query = {"limit": str(self._limits.chunk)}
        if selection.labels:
            query["labelSelector"] = selection.labels
        if selection.fields:
            query["fieldSelector"] = selection.fields
        if selection.cached:
            query["resourceVersion"] = "0"
        items: list[Object] = []
        while True:
            page = await self._send(_Request("list", "GET", resource, resource.path(selection.namespace), query))
            # Items of a list carry no kind of their own.
            items += [{"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in page["items"]]
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return Listing(items, int(metadata["resourceVersion"]))
            query = {**query, "continue": metadata["continue"]}
            query.pop("resourceVersion", None)  # not allowed beside a continue token

    async def _send(self, request: _Request) -> Object:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(request)
            except errors.TooManyRequests as error:
                pause = error.retry_after if error.retry_after is not None else 1.0
                if attempt == ATTEMPTS or pause > PATIENCE:
                    raise
            except errors.Unavailable as error:
                pause = error.retry_after or 0.1 * 2**attempt
                if attempt == ATTEMPTS or pause > PATIENCE or not (request.repeatable or error.reason == UNSENT):
                    raise
            await asyncio.sleep(pause * (1.0 + 0.25 * self._limits.random()))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, request: _Request) -> Object:
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

    async def _transmit(self, request: _Request) -> tuple[int, Mapping[str, str], bytes]:
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
