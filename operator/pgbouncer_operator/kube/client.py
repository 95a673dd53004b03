"""A small client of the Kubernetes API. Objects are plain dicts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import incluster_config, kube_config

from pgbouncer_operator import naming
from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.resources import Resource
from pgbouncer_operator.kube.transport import APPLY, MERGE, Object, Request, RequestOptions, Transport

__all__ = ["Kube", "Listing", "Object", "RequestOptions", "Selection"]


@dataclass(frozen=True, slots=True)
class Listing:
    """A complete list of objects."""

    items: list[Object]
    resource_version: int
    """The version of the list: it shows every write up to this version."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects to list."""

    namespace: str = ""
    """Empty for all namespaces."""
    labels: str = ""
    """A label selector; empty for all objects."""
    fields: str = ""
    """A field selector; empty for all objects."""
    cached: bool = False
    """Whether the API server may answer from its memory with an older state (`resourceVersion=0`)."""


class Kube:
    """Reads and writes objects. Raises only errors of kube.errors and CancelledError."""

    def __init__(self, transport: Transport, chunk: int = 500) -> None:
        """chunk: objects on one page of a list. Use `in_cluster` or `from_kubeconfig`."""
        self._transport = transport
        self._chunk = chunk

    @classmethod
    def in_cluster(cls, limits: RequestOptions, credentials: Path, environ: Mapping[str, str]) -> Self:
        """A client with the pod's service account. The library reads the token again every minute.

        credentials: the directory of `token` and `ca.crt`. Raises OSError or ConfigException if they are missing.
        """
        configuration = Configuration()
        incluster_config.InClusterConfigLoader(
            token_filename=str(credentials / "token"), cert_filename=str(credentials / "ca.crt"), environ=environ
        ).load_and_set(configuration)
        return cls(Transport(configuration, limits))

    @classmethod
    async def from_kubeconfig(
        cls, limits: RequestOptions, path: Path, context: str | None = None, chunk: int = 500
    ) -> Self:
        """A client with a kubeconfig file. Raises ConfigException if it cannot be used."""
        configuration = Configuration()
        await kube_config.load_kube_config(
            config_file=str(path), context=context, client_configuration=configuration, persist_config=False
        )
        return cls(Transport(configuration, limits), chunk)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Read the latest state of one object. Raises NotFound."""
        return await self._transport.send(Request("get", "GET", resource, resource.path(namespace, name), {}))

    async def list(self, resource: Resource, selection: Selection) -> Listing:
        """Read all objects of `selection`, page by page. Starts again once if a page has expired."""
        try:
            return await self._list(resource, selection)
        except errors.Expired:
            return await self._list(resource, selection)

    async def create(self, resource: Resource, body: Object) -> Object:
        """Create an object by POST. Raises AlreadyExists; after Unavailable it may have been created.

        Its fields then belong to an Update entry of `managedFields`. A later apply removes none of them before
        `reconcile.pool.managed_fields` has changed that entry.
        """
        path = resource.path(body["metadata"].get("namespace", ""))
        query = {"fieldManager": naming.FIELD_MANAGER}
        return await self._transport.send(Request("create", "POST", resource, path, query, body))

    async def apply(self, resource: Resource, body: Object, force: bool = True, subresource: str = "") -> Object:
        """Server-side apply of the fields in `body`. Fields that an earlier apply set and `body` lacks are removed.

        With `metadata.uid` or `metadata.resourceVersion` in `body`, nothing is created, and raises Conflict if the
        stored object is another one.
        """
        metadata = body["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
        query = {"fieldManager": naming.FIELD_MANAGER, "force": "true" if force else "false"}
        return await self._transport.send(Request("apply", "PATCH", resource, path, query, body, APPLY))

    async def replace(self, resource: Resource, body: Object, subresource: str = "") -> Object:
        """Replace a whole object. Raises Conflict if its version is not `metadata.resourceVersion`."""
        metadata = body["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
        query = {"fieldManager": naming.FIELD_MANAGER}
        return await self._transport.send(Request("update", "PUT", resource, path, query, body))

    async def merge_patch(self, resource: Resource, body: Object, subresource: str = "") -> Object:
        """JSON merge patch: `body` holds the object's `metadata.name` and the fields to change; null removes a field.

        Raises Conflict if `metadata.resourceVersion` or `metadata.uid` is in `body` and differs from the stored one.
        """
        metadata = body["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
        query = {"fieldManager": naming.FIELD_MANAGER}
        return await self._transport.send(Request("patch", "PATCH", resource, path, query, body, MERGE))

    async def delete(self, resource: Resource, body: Object) -> None:
        """Delete the object of this name, uid and resourceVersion. Kubernetes deletes its dependents in the background.

        Raises NotFound, or Conflict if uid or resourceVersion differ.
        """
        metadata = body["metadata"]
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        }
        path = resource.path(metadata.get("namespace", ""), metadata["name"])
        await self._transport.send(Request("delete", "DELETE", resource, path, {}, options))

    async def _list(self, resource: Resource, selection: Selection) -> Listing:
        query = {"limit": str(self._chunk)}
        if selection.labels:
            query["labelSelector"] = selection.labels
        if selection.fields:
            query["fieldSelector"] = selection.fields
        if selection.cached:
            query["resourceVersion"] = "0"
        items: list[Object] = []
        while True:
            page = await self._transport.send(
                Request("list", "GET", resource, resource.path(selection.namespace), query)
            )
            # The API server leaves apiVersion and kind out of the items of a list.
            items += [{"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in page["items"]]
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return Listing(items, int(metadata["resourceVersion"]))
            query = {**query, "continue": metadata["continue"]}
            query.pop("resourceVersion", None)  # the API server refuses both together
