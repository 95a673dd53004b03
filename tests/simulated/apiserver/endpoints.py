"""What each endpoint takes of a body: the object itself all but status, its status subresource little else."""

from collections.abc import Iterable
from typing import Any

from tests.simulated.apiserver import apply
from tests.simulated.apiserver.kinds import Kind

Object = dict[str, Any]


def specified(body: Object) -> Object:
    return {name: value for name, value in body.items() if name not in ("metadata", "status")}


def confined(kind: Kind, live: Object, wanted: Object, subresource: str) -> Object:
    """`wanted` without what the endpoint ignores: status on the object itself, all but status on its subresource."""
    metadata = {**wanted["metadata"]}
    for name in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "deletionTimestamp"):
        metadata.pop(name, None)
        if name in live["metadata"]:
            metadata[name] = live["metadata"][name]
    if subresource != "status":
        body = {**wanted, "metadata": metadata}
        if kind.status:
            body.pop("status", None)
            if "status" in live:
                body["status"] = live["status"]
        return body
    confined = {**live, "metadata": {**live["metadata"]}}
    if "status" in wanted:
        confined["status"] = wanted["status"]
    else:
        confined.pop("status", None)
    if not kind.custom:  # the built-in kinds' strategies let annotations through, custom resources let no metadata
        _take(
            confined["metadata"],
            metadata,
            ("annotations", "labels") if kind.resource.kind == "Pod" else ("annotations",),
        )
    return confined


def _take(into: Object, source: Object, names: Iterable[str]) -> None:
    for name in names:
        into.pop(name, None)
        if source.get(name):
            into[name] = source[name]


def only(kind: Kind, applied: Object, subresource: str) -> Object:
    """The part of an apply that its endpoint takes, so that nobody owns what was ignored."""
    if subresource == "status":
        kept: Object = {name: value for name, value in applied.items() if name in ("metadata", "status")}
        return {**kept, "metadata": {}} if kind.custom else kept
    return {name: value for name, value in applied.items() if name != "status" or not kind.status}


def managed_fields(kind: Kind, owners: apply.Owners) -> list[Object]:
    return [
        {
            "manager": manager,
            "operation": operation,
            **({"subresource": subresource} if subresource else {}),
            "apiVersion": kind.resource.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": apply.fields_v1(paths),
        }
        for (manager, operation, subresource), paths in sorted(owners.items())
    ]


def owners_of(entries: Iterable[Object]) -> apply.Owners:
    """The owners that `managedFields` says, as a client may rewrite it to hand fields over."""
    owners: apply.Owners = {}
    for entry in entries:
        manager = (entry["manager"], entry["operation"], entry.get("subresource", ""))
        owners[manager] = frozenset(apply.paths_of(entry["fieldsV1"]))
    return owners
