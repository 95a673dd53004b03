"""The documents by which clients learn which kinds there are."""

from collections.abc import Collection
from typing import Any

from tests.simulated.apiserver.kinds import KINDS, Kind

Object = dict[str, Any]
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def document(path: str, hidden: Collection[str]) -> Object | None:
    """What `path` answers, or None if it is no discovery path. `hidden`: plurals that are not served."""
    kinds = [kind for kind in KINDS if kind.resource.plural not in hidden]
    groups = sorted({kind.resource.api_version for kind in kinds if "/" in kind.resource.api_version})
    match path.strip("/").split("/"):
        case ["version"]:
            return {"major": "1", "minor": "35", "gitVersion": "v1.35.0"}
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in groups]}
        case ["api", version]:
            return _resources(version, kinds)
        case ["apis", group, version] if f"{group}/{version}" in groups:
            return _resources(f"{group}/{version}", kinds)
        case _:
            return None


def _group(api_version: str) -> Object:
    name, version = api_version.split("/")
    entry = {"groupVersion": api_version, "version": version}
    return {"name": name, "versions": [entry], "preferredVersion": entry}


def _resources(api_version: str, kinds: list[Kind]) -> Object:
    entries: list[Object] = []
    for kind in kinds:
        if kind.resource.api_version != api_version:
            continue
        entry = {
            "name": kind.resource.plural,
            "singularName": kind.resource.kind.lower(),
            "namespaced": kind.resource.namespaced,
            "kind": kind.resource.kind,
            "verbs": VERBS,
            "shortNames": list(kind.short_names),
        }
        entries.append(entry)
        if kind.status:
            entries.append({**entry, "name": f"{kind.resource.plural}/status", "verbs": ["get", "patch", "update"]})
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": entries}
