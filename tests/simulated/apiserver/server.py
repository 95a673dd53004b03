"""An API server in memory that speaks real HTTP, with faults on demand.

    async with ApiServer() as api:
        kube = await Kube.from_kubeconfig(Limits(), api.write_kubeconfig(path))

Faithful in what an operator sees: versions, preconditions, server-side apply with ownership and conflicts, the status
subresource, generation, no-op writes, pagination, watches with bookmarks and 410, garbage collection, discovery.
Left out: admission webhooks, quotas, RBAC, JSON patch, strategic merge patch, protobuf, tables.
"""

import asyncio
import json
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from tests.simulated.apiserver import discovery, faults, requests
from tests.simulated.apiserver.faults import Faults
from tests.simulated.apiserver.records import Intent, Key, Object, Write, clone
from tests.simulated.apiserver.requests import Target
from tests.simulated.apiserver.status import Refused
from tests.simulated.apiserver.storage import Storage
from tests.simulated.apiserver.watches import Question, Watches

from pgbouncer_operator.kube.resources import Resource, of


@dataclass(frozen=True, slots=True)
class Call:
    """A request that came in. `code` 0: the connection was cut or never answered."""

    verb: str
    plural: str
    key: Key
    subresource: str
    code: int
    agent: str


class _Stream(web.StreamResponse):
    """A watch's answer: noted when it begins, because nobody knows when it ends."""


class ApiServer:
    """The server. Its `storage` may be written directly: that is what other users do."""

    def __init__(self, token: str = "", tls: ssl.SSLContext | None = None, bookmark_every: float = 5.0) -> None:
        self.storage = Storage()
        self.faults = Faults()
        self.calls: list[Call] = []
        self.hidden: set[str] = set()  # plurals that are not served, as if their CRD were missing
        self.forbidden: set[str] = set()  # namespaces in which clients have no rights
        self.port = 0  # to listen on; 0 for any
        self.watches = Watches(self.storage, bookmark_every)
        self.url = ""
        self.token = token
        self._tls = tls
        self._pages: dict[str, tuple[int, list[Object]]] = {}
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None
        for namespace in ("default", "kube-system"):
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=4 << 20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"{'https' if self._tls else 'http'}://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        self.watches.end()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def writes(self) -> list[Write]:
        """All accepted writes, the effective ones marked."""
        return self.storage.writes

    def create(self, body: Object) -> Object:
        """Create an object as another user."""
        kind = self.storage.kind(of(body["apiVersion"], body["kind"]).plural)
        return self.storage.create(kind, body, Intent("somebody", verb="create"))

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Read an object. Raises Refused."""
        return self.storage.get(resource, namespace, name)

    def find(self, resource: Resource, namespace: str = "") -> list[Object]:
        """All objects of a kind."""
        return [clone(body) for body in self.storage.find(resource, namespace)]

    def edit(self, resource: Resource, key: Key, change: Callable[[Object], None], subresource: str = "") -> Object:
        """Change an object in place as another user."""

        def changed(body: Object) -> Object:
            change(body)
            return body

        kind = self.storage.kind(resource.plural)
        return self.storage.update(kind, key, changed, Intent("somebody", subresource))

    def delete(self, resource: Resource, key: Key, **options: Any) -> None:
        """Delete an object as another user, with DeleteOptions."""
        self.storage.delete(self.storage.kind(resource.plural), key, options, Intent("somebody"))

    def cut_watches(self, plural: str = "") -> None:
        """End open watch streams as a restarting server would."""
        self.watches.end(plural)

    def expire_watches(self, plural: str) -> None:
        """Compact the history: open streams of the kind end with 410, and so does a watch from an older version."""
        self.storage.forget_history(plural)
        self.watches.end(plural, Refused(410, "too old resource version").status())

    def expire_pages(self) -> None:
        """Make all continue tokens too old."""
        self._pages.clear()

    def write_kubeconfig(self, path: Path) -> Path:
        """A kubeconfig for this server, with its token if it wants one."""
        user = {"token": self.token} if self.token else {}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "simulated",
            "clusters": [{"name": "simulated", "cluster": {"server": self.url}}],
            "users": [{"name": "simulated", "user": user}],
            "contexts": [{"name": "simulated", "context": {"cluster": "simulated", "user": "simulated"}}],
        }
        path.write_text(json.dumps(config))
        return path

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        target: Target | None = None
        response: web.StreamResponse | None = None
        try:
            if self.token and request.headers.get("Authorization", "").lower() != f"bearer {self.token}".lower():
                raise Refused(401, "Unauthorized")
            document = discovery.document(request.path, self.hidden) if request.method == "GET" else None
            target = None if document is not None else requests.target(self.storage, self.hidden, request)
            response = web.json_response(document) if target is None else await self._act(request, target)
        except Refused as refused:
            headers = {"Retry-After": str(refused.retry_after)} if refused.retry_after is not None else {}
            response = web.json_response(refused.status(), status=refused.code, headers=headers)
        finally:
            if target is not None and not isinstance(response, _Stream):
                self._note(request, target, response.status if response is not None else 0)
        return response

    def _note(self, request: web.Request, target: Target, code: int) -> None:
        agent = request.headers.get("User-Agent", "")
        self.calls.append(Call(target.verb, target.kind.resource.plural, target.key, target.subresource, code, agent))

    async def _act(self, request: web.Request, target: Target) -> web.StreamResponse:
        if target.key[0] in self.forbidden:
            raise Refused(403, f'cannot {target.verb} resource in the namespace "{target.key[0]}"')
        action = self.faults.next(target.verb, target.kind.resource.plural, target.key[1])
        match action:
            case faults.Answer(code, retry_after):
                raise Refused(code, f"a fault: {code}", retry_after=retry_after)
            case faults.Hang():
                await self._closing.wait()
            case faults.Slow(seconds):
                await asyncio.sleep(seconds)
            case faults.DropBefore():
                raise _cut(request)
            case _:
                pass
        if target.verb == "watch":
            return await self._watch(request, target)
        before = self.storage.version
        if target.verb in ("get", "list"):
            answer = self._read(request, target)
        else:
            answer = await self._write(request, target)
        if isinstance(action, faults.DropAfter):
            raise _cut(request)
        created = target.verb in ("create", "apply") and self.storage.created.get(answer["metadata"]["uid"], 0) > before
        return web.json_response(answer, status=201 if created else 200)

    async def _write(self, request: web.Request, target: Target) -> Object:
        kind, key = target.kind, target.key
        intent = Intent(requests.manager(request), target.subresource, target.verb)
        match target.verb:
            case "create":
                body = await requests.body(request)
                if kind.resource.namespaced:
                    body["metadata"].setdefault("namespace", key[0])
                return self.storage.create(kind, body, intent)
            case "update":
                body = await requests.body(request, key)
                return self.storage.update(kind, key, lambda _: body, intent)
            case "patch":
                patch = await requests.body(request, key)
                return self.storage.update(kind, key, lambda live: requests.merged(live, patch), intent)
            case "apply":
                body = await requests.body(request, key)
                return self.storage.apply(kind, key, body, intent, request.query.get("force") == "true")
            case "delete":
                options = await requests.body(request) if request.can_read_body else {}
                return self.storage.delete(kind, key, options, intent)
            case _:
                raise Refused(405, "the server does not allow this method on the requested resource")

    def _read(self, request: web.Request, target: Target) -> Object:
        return self.storage.peek(target.kind.resource, *target.key) if target.key[1] else self._list(request, target)

    def _list(self, request: web.Request, target: Target) -> Object:
        if token := request.query.get("continue"):
            if token not in self._pages:
                raise Refused(410, "The provided continue parameter is too old to display a consistent list result.")
            version, items = self._pages[token]
        else:
            selector = requests.selector(request)
            found = self.storage.find(target.kind.resource, target.key[0])
            version, items = self.storage.version, [body for body in found if selector(body)]
        limit = int(request.query.get("limit", 0)) or len(items)
        metadata: Object = {"resourceVersion": str(version)}
        if items[limit:]:
            metadata["continue"] = secrets.token_urlsafe(8)
            metadata["remainingItemCount"] = len(items) - limit
            self._pages[metadata["continue"]] = (version, items[limit:])
        resource = target.kind.resource
        own = ("apiVersion", "kind")  # items of a list carry no kind of their own
        page = [{name: value for name, value in body.items() if name not in own} for body in items[:limit]]
        return {"apiVersion": resource.api_version, "kind": f"{resource.kind}List", "metadata": metadata, "items": page}

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        since = request.query.get("resourceVersion", "")
        timeout = request.query.get("timeoutSeconds")
        question = Question(
            target.kind,
            target.key[0],
            requests.selector(request),
            int(since) if since not in ("", "0") else None,
            request.query.get("allowWatchBookmarks") == "true",
            float(timeout) if timeout else None,
        )
        response = _Stream(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        self._note(request, target, 200)
        try:
            async for line in self.watches.stream(question):
                await response.write(line)
        except ConnectionResetError:
            pass  # the client has gone
        return response


def _cut(request: web.Request) -> ConnectionResetError:
    if request.transport is not None:
        request.transport.abort()
    return ConnectionResetError("a fault")
