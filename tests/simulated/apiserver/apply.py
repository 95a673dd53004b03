"""Server-side apply: who owns which field, and what becomes of an object when a manager applies.

A path is a tuple of field names, and of `((key, value), …)` tuples where a list is keyed as the API's schema says.
Lists that are not in KEYED are atomic. Rules: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.simulated.apiserver.records import Object, clone

ItemKey = tuple[tuple[str, Any], ...]
Path = tuple[str | ItemKey, ...]
Owners = dict[tuple[str, str, str], frozenset[Path]]  # manager, operation, subresource

# Field name, parent's field name or "" for any: the item's key fields with their defaults.
KEYED: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("containers", ""): {"name": None},
    ("initContainers", ""): {"name": None},
    ("volumes", ""): {"name": None},
    ("volumeMounts", ""): {"mountPath": None},
    ("env", ""): {"name": None},
    ("imagePullSecrets", ""): {"name": None},
    ("conditions", ""): {"type": None},
    ("ownerReferences", ""): {"uid": None},
    ("topologySpreadConstraints", ""): {"topologyKey": None, "whenUnsatisfiable": None},
    ("ports", "item"): {"containerPort": None, "protocol": "TCP"},
    ("ports", "spec"): {"port": None, "protocol": "TCP"},
    ("databases", ""): {"name": None},
    ("users", ""): {"name": None},
    ("allocations", ""): {"pool": None},
}
# Not fields that anybody owns.
IDENTITY = frozenset(
    {("apiVersion",), ("kind",)}
    | {
        ("metadata", name)
        for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation")
    }
    | {("metadata", name) for name in ("managedFields", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds")}
)


class ApplyConflict(Exception):
    """Another manager owns fields that the apply would change."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        """`fields`: who owns it, and its path."""
        said = "; ".join(f'conflict with "{manager}": {path}' for manager, path in fields)
        super().__init__(f"Apply failed with {len(fields)} conflicts: {said}")


def keys_of(field: str, parent: str, items: Any) -> Mapping[str, Any] | None:
    """The key fields of a list of that name, or None if it is atomic."""
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return None
    keys = KEYED.get((field, "")) or KEYED.get((field, parent))
    if keys is None or any(name not in item and default is None for item in items for name, default in keys.items()):
        return None
    return keys


def key_of(item: Object, keys: Mapping[str, Any]) -> ItemKey:
    return tuple((name, item.get(name, default)) for name, default in keys.items())


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all leaves of an object: scalars, atomic lists, empty maps, and the keyed items themselves."""
    field = str(path[-1]) if path and isinstance(path[-1], str) else "item"
    parent = str(path[-2]) if len(path) > 1 and isinstance(path[-2], str) else "item"
    if path in IDENTITY:
        return
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
        return
    keys = keys_of(field, parent, value)
    if keys is None or not value:
        if path:
            yield path
        return
    for item in value:
        here = (*path, key_of(item, keys))
        yield here
        for name, inner in item.items():
            yield from leaves(inner, (*here, name))


def value_at(value: Any, path: Path) -> Any:
    """The value at `path`, or None."""
    for step in path:
        if not isinstance(step, str):
            value = _find(value, step)
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value


def merge(live: Any, applied: Any, path: Path = ()) -> Any:
    """`live` with all of `applied` laid over it."""
    if isinstance(live, dict) and isinstance(applied, dict):
        merged = dict(live)
        for name, inner in applied.items():
            merged[name] = merge(live[name], inner, (*path, name)) if name in live else clone(inner)
        return merged
    field = str(path[-1]) if path and isinstance(path[-1], str) else "item"
    parent = str(path[-2]) if len(path) > 1 and isinstance(path[-2], str) else "item"
    keys = keys_of(field, parent, applied)
    if keys is None or keys_of(field, parent, live) is None:
        return clone(applied)
    merged_items = {key_of(item, keys): item for item in live}
    for item in applied:
        key = key_of(item, keys)
        merged_items[key] = merge(merged_items[key], item, (*path, key)) if key in merged_items else clone(item)
    return list(merged_items.values())


def apply(live: Object, owners: Owners, applied: Object, who: tuple[str, str], force: bool) -> tuple[Object, Owners]:
    """The object and its owners after `who` (manager, subresource) applied. Raises ApplyConflict."""
    me = (who[0], "Apply", who[1])
    wanted = frozenset(leaves(applied))
    contested = [
        (manager, path)
        for manager, paths in owners.items()
        for path in sorted(wanted & paths, key=repr)
        if manager != me and isinstance(path[-1], str) and value_at(live, path) != value_at(applied, path)
    ]
    if contested and not force:
        raise ApplyConflict([(manager[0], render(path)) for manager, path in contested])
    lost = {manager: {path for name, path in contested if name == manager} for manager in owners}
    after: Owners = {manager: paths - lost[manager] for manager, paths in owners.items() if manager != me}
    merged = merge(clone(live), applied)
    still_owned = wanted.union(*after.values()) if after else wanted
    for path in sorted(owners.get(me, frozenset()) - still_owned, key=len):  # an item before what is in it
        _remove(merged, path, still_owned)
    after[me] = wanted
    return merged, {manager: paths for manager, paths in after.items() if paths}


def updated(before: Object, after: Object, owners: Owners, who: tuple[str, str]) -> Owners:
    """The owners after `who` wrote `after` over `before` without apply: what changed is theirs."""
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    old, new = ({name: body[name] for name in body.keys() & changed} for body in (before, after))
    old_values, new_values = ({path: value_at(body, path) for path in leaves(body)} for body in (old, new))
    touched = {path for path, value in new_values.items() if path not in old_values or old_values[path] != value}
    gone = (old_values.keys() - new_values.keys()) | touched
    result = {manager: paths - gone for manager, paths in owners.items()}
    me = (who[0], "Update", who[1])
    result[me] = result.get(me, frozenset()) | touched
    return {manager: paths for manager, paths in result.items() if paths}


def fields_v1(paths: frozenset[Path]) -> Object:
    """Paths as `managedFields[].fieldsV1` shows them."""
    tree: Object = {}
    for path in sorted(paths, key=repr):
        node = tree
        for step in path:
            node = node.setdefault(_field(step), {})
        if not isinstance(path[-1], str):
            node["."] = {}
    return tree


@functools.cache
def _field(step: str | ItemKey) -> str:
    return f"f:{step}" if isinstance(step, str) else f"k:{json.dumps(dict(step))}"


def paths_of(tree: Object, path: Path = ()) -> Iterator[Path]:
    """The paths that `fields_v1` shows."""
    for name, inner in tree.items():
        if name == ".":
            yield path
            continue
        step = name[2:] if name.startswith("f:") else tuple(json.loads(name[2:]).items())
        if not inner:
            yield (*path, step)
        yield from paths_of(inner, (*path, step))


def render(path: Path) -> str:
    """A path as error messages show it."""
    return "".join(f".{step}" if isinstance(step, str) else f"{[f'{k}={v}' for k, v in step]}" for step in path)


def _find(items: Any, key: ItemKey) -> Any:
    names = {name: "TCP" if name == "protocol" else None for name, _ in key}
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and key_of(item, names) == key:
            return item
    return None


def _remove(root: Object, path: Path, still_owned: frozenset[Path]) -> None:
    """Take the leaf at `path` away, and the parents that hold nothing any more."""
    if any(owned[: len(path)] == path for owned in still_owned):
        return  # somebody owns something inside
    if len(path) > 1 and not isinstance(path[-2], str) and path[-1] in dict(path[-2]):
        return  # what an item is found by goes with the item
    parent, last = value_at(root, path[:-1]), path[-1]
    if isinstance(last, str):
        if isinstance(parent, dict):
            parent.pop(last, None)
    elif (item := _find(parent, last)) is not None:
        parent.remove(item)
    if path[:-1] and value_at(root, path[:-1]) in ({}, []):
        _remove(root, path[:-1], still_owned)
