"""What a request asks for: which object, which verb, which body."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from tests.simulated.apiserver import selectors
from tests.simulated.apiserver.kinds import Kind
from tests.simulated.apiserver.records import Key, Object, clone
from tests.simulated.apiserver.status import Refused
from tests.simulated.apiserver.storage import Storage

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Target:
    """An object or a collection, and what is to be done with it."""

    kind: Kind
    key: Key
    subresource: str
    verb: str


def target(storage: Storage, hidden: Collection[str], request: web.Request) -> Target:
    parts = request.path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    version = "/".join(parts[1 : len(parts) - len(rest)])
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    if parts[0] not in ("api", "apis") or not rest or rest[0] in hidden:
        raise Refused(404, "the server could not find the requested resource")
    kind = storage.kind(rest[0])
    name, subresource = (*rest[1:3], "", "")[:2]
    if kind.resource.api_version != version or (subresource and not (subresource == "status" and kind.status)):
        raise Refused(404, "the server could not find the requested resource")
    return Target(kind, (namespace, name), subresource, _verb(request, name))


def _verb(request: web.Request, name: str) -> str:
    match request.method:
        case "GET" if not name:
            return "watch" if request.query.get("watch") in ("true", "1") else "list"
        case "PATCH":
            if request.content_type not in (APPLY, MERGE):
                raise Refused(415, f"this server knows no patches of type {request.content_type}")
            return "apply" if request.content_type == APPLY else "patch"
        case method:
            return {"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}.get(method, "")


def manager(request: web.Request) -> str:
    return request.query.get("fieldManager") or request.headers.get("User-Agent", "unknown").split("/")[0]


def selector(request: web.Request) -> selectors.Selector:
    try:
        return selectors.parse(request.query.get("labelSelector", ""), request.query.get("fieldSelector", ""))
    except ValueError as error:
        raise Refused(400, f"unable to parse requirement: {error}") from None


async def body(request: web.Request, key: Key | None = None) -> Object:
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        raise Refused(400, f"the object provided is unrecognized: {error}") from None
    if not isinstance(body, dict) or (key is not None and not isinstance(body.get("metadata", {}), dict)):
        raise Refused(400, "the object provided is unrecognized")
    name = body.get("metadata", {}).get("name", key[1] if key else "")
    if key is not None and name != key[1]:
        raise Refused(400, f"the name of the object ({name}) does not match the name on the URL ({key[1]})")
    if key is not None:
        body.setdefault("metadata", {})
    return body


def merged(live: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return clone(patch)
    result = dict(live) if isinstance(live, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
