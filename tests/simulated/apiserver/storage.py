"""What etcd and the registry do: versions, history, preconditions, ownership, deletion. No HTTP."""

import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.simulated.apiserver import apply, endpoints, kinds
from tests.simulated.apiserver.kinds import Kind
from tests.simulated.apiserver.records import Change, Intent, Key, Object, Write, clone
from tests.simulated.apiserver.status import Refused

from pgbouncer_operator.kube.resources import Resource


@dataclass(slots=True)
class _Row:
    body: Object
    owners: apply.Owners = field(default_factory=dict)


class Storage:
    """All objects of the cluster. A stored body is never changed, only replaced; `peek` gives it without a copy."""

    def __init__(self) -> None:
        self.version = 1000
        self.created: dict[str, int] = {}  # version of birth, by uid
        self.writes: list[Write] = []
        self.listeners: list[Callable[[Kind, Change], None]] = []
        self.graceful = frozenset({"pods", "namespaces"})  # deleted in two steps, the second is the kubelet's
        self.admission: list[Callable[[Kind, Object], str | None]] = []
        self.history: dict[str, list[Change]] = defaultdict(list)
        self.compacted: dict[str, int] = defaultdict(int)
        self._rows: dict[str, dict[Key, _Row]] = defaultdict(dict)
        self._dependents: dict[str, set[tuple[str, Key]]] = defaultdict(set)  # by the owner's uid; may hold former ones
        self._kinds = {kind.resource.plural: kind for kind in kinds.KINDS}

    def kind(self, plural: str) -> Kind:
        if plural not in self._kinds:
            raise Refused(404, "the server could not find the requested resource")
        return self._kinds[plural]

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        return clone(self.peek(resource, namespace, name))

    def peek(self, resource: Resource, namespace: str, name: str) -> Object:
        """The stored body itself, for those who only read."""
        return self._row(self.kind(resource.plural), (namespace, name)).body

    def exists(self, plural: str, key: Key) -> bool:
        return key in self._rows[plural]

    def find(self, resource: Resource, namespace: str = "") -> list[Object]:
        """All objects of a kind, sorted by key: the stored bodies themselves."""
        rows = self._rows[resource.plural]
        return [rows[key].body for key in sorted(rows) if namespace in ("", key[0])]

    def create(self, kind: Kind, body: Object, intent: Intent) -> Object:
        body = clone(body)
        key = self._key(kind, body)
        metadata = body["metadata"]
        if metadata.get("resourceVersion"):
            raise Refused(400, "resourceVersion should not be set on objects to be created")
        self._check_namespace(kind, key[0])
        if key in self._rows[kind.resource.plural]:
            raise Refused(409, f'{kind.resource.plural} "{key[1]}" already exists', "AlreadyExists")
        if kind.status:
            body.pop("status", None)
        owners = apply.updated({}, body, {}, (intent.manager, ""))
        return self._insert(kind, key, _Row(body, owners), intent)

    def update(self, kind: Kind, key: Key, change: Callable[[Object], Object], intent: Intent) -> Object:
        """Write what `change` makes of the object. A resourceVersion or uid in its result is a precondition."""
        row = self._row(kind, key)
        wanted = change(clone(row.body))
        self._check_same(kind, row.body, wanted)
        body = endpoints.confined(kind, row.body, wanted, intent.subresource)
        owners, entries = row.owners, wanted["metadata"].get("managedFields")
        if entries and entries != row.body["metadata"]["managedFields"]:
            owners = endpoints.owners_of(entries)
        owners = apply.updated(row.body, body, owners, (intent.manager, intent.subresource))
        return self._store(kind, key, _Row(body, owners), intent)

    def apply(self, kind: Kind, key: Key, applied: Object, intent: Intent, force: bool) -> Object:
        """Server-side apply; creates the object if it does not exist and no precondition asks for an existing one."""
        row = self._rows[kind.resource.plural].get(key)
        if row is None:
            if intent.subresource or applied["metadata"].get("uid"):
                raise Refused(404, f'{kind.resource.plural} "{key[1]}" not found')
            if applied["metadata"].get("resourceVersion"):
                raise Refused(409, "the object does not exist, so it has no such resourceVersion")
            self._check_namespace(kind, key[0])
            body, owners = apply.apply({}, {}, endpoints.only(kind, applied, ""), (intent.manager, ""), force)
            body = {**body, "apiVersion": applied["apiVersion"], "kind": applied["kind"]}
            return self._insert(kind, key, _Row(body, owners), intent)
        self._check_same(kind, row.body, applied)
        applied = endpoints.only(kind, applied, intent.subresource)
        try:
            merged, owners = apply.apply(row.body, row.owners, applied, (intent.manager, intent.subresource), force)
        except apply.ApplyConflict as conflict:
            raise Refused(409, str(conflict)) from None
        return self._store(
            kind, key, _Row(endpoints.confined(kind, row.body, merged, intent.subresource), owners), intent
        )

    def delete(self, kind: Kind, key: Key, options: Object, intent: Intent) -> Object:
        """Delete, or mark as being deleted if a finalizer or a kubelet has the last word. Dependents follow."""
        row = self._row(kind, key)
        metadata = row.body["metadata"]
        for name, wanted in (options.get("preconditions") or {}).items():
            if wanted != metadata[name]:
                message = (
                    f"Precondition failed: {name} in precondition: {wanted}, {name} in object meta: {metadata[name]}"
                )
                raise Refused(409, f'Operation cannot be fulfilled on {kind.resource.plural} "{key[1]}": {message}')
        grace = options.get("gracePeriodSeconds", 30)
        waits = metadata.get("finalizers") or (kind.resource.plural in self.graceful and grace != 0)
        self.writes.append(Write("delete", kind.resource.plural, key, intent.manager, changed=True))
        if not waits:
            return self._erase(kind, key, orphan=options.get("propagationPolicy") == "Orphan")
        if "deletionTimestamp" not in metadata:
            body = {**row.body, "metadata": {**row.body["metadata"]}}
            body["metadata"] |= {"deletionTimestamp": _now(), "deletionGracePeriodSeconds": grace}
            self._commit(kind, key, _Row(body, row.owners), "MODIFIED")
            if kind.resource.plural == "namespaces":
                self._empty(key[1])
            return clone(body)
        return clone(row.body)

    def forget_history(self, plural: str) -> None:
        """Compact: a watch from before now is too old."""
        self.history[plural].clear()
        self.compacted[plural] = self.version

    def _empty(self, namespace: str) -> None:
        for kind in self._kinds.values():
            for key in [key for key in self._rows[kind.resource.plural] if key[0] == namespace]:
                if key in self._rows[kind.resource.plural]:
                    self.delete(kind, key, {}, Intent("namespace-controller"))

    def _insert(self, kind: Kind, key: Key, row: _Row, intent: Intent) -> Object:
        metadata = {
            name: row.body["metadata"][name] for name in ("labels", "annotations") if row.body["metadata"].get(name)
        }
        for name in ("ownerReferences", "finalizers"):
            if row.body["metadata"].get(name):
                metadata[name] = row.body["metadata"][name]
        row.body["metadata"] = {"name": key[1], "uid": str(uuid.uuid4()), "creationTimestamp": _now()} | metadata
        if key[0]:
            row.body["metadata"]["namespace"] = key[0]
        if kind.generation:
            row.body["metadata"]["generation"] = 1
        kinds.default(kind, row.body)
        self._check(kind, row.body)
        self._commit(kind, key, row, "ADDED")
        self.created[row.body["metadata"]["uid"]] = int(row.body["metadata"]["resourceVersion"])
        self.writes.append(Write(intent.verb, kind.resource.plural, key, intent.manager, changed=True))
        self._collect(kind, key)
        return clone(row.body)

    def _store(self, kind: Kind, key: Key, row: _Row, intent: Intent) -> Object:
        before = self._row(kind, key)
        kinds.default(kind, row.body)
        kinds.validate_change(kind, before.body, row.body)
        self._check(kind, row.body)
        if (
            kind.generation
            and not intent.subresource
            and endpoints.specified(before.body) != endpoints.specified(row.body)
        ):
            row.body["metadata"]["generation"] = before.body["metadata"]["generation"] + 1
        changed = row.body != before.body or row.owners != before.owners
        self.writes.append(Write(intent.verb, kind.resource.plural, key, intent.manager, changed, intent.subresource))
        if not changed:
            return clone(before.body)
        self._commit(kind, key, row, "MODIFIED")
        ending = "deletionTimestamp" in row.body["metadata"] and not row.body["metadata"].get("finalizers")
        if ending and kind.resource.plural not in self.graceful:
            self._erase(kind, key, orphan=False)
        return clone(row.body)

    def _commit(self, kind: Kind, key: Key, row: _Row, type_: str) -> None:
        self.version += 1
        row.body["metadata"]["resourceVersion"] = str(self.version)
        row.body["metadata"]["managedFields"] = endpoints.managed_fields(kind, row.owners)
        before = self._rows[kind.resource.plural].get(key)
        self._rows[kind.resource.plural][key] = row
        for owner in row.body["metadata"].get("ownerReferences") or ():
            self._dependents[owner["uid"]].add((kind.resource.plural, key))
        self._tell(kind, Change(self.version, type_, row.body, before.body if before else None))

    def _erase(self, kind: Kind, key: Key, orphan: bool) -> Object:
        row = self._rows[kind.resource.plural].pop(key)
        self.version += 1
        last = {**row.body, "metadata": {**row.body["metadata"], "resourceVersion": str(self.version)}}
        self._tell(kind, Change(self.version, "DELETED", last, row.body))
        for plural, dependent in sorted(self._dependents.pop(last["metadata"]["uid"], ())):
            if orphan:
                self._disown(self._kinds[plural], dependent, last["metadata"]["uid"])
            else:
                self._collect(self._kinds[plural], dependent)
        return clone(last)

    def _collect(self, kind: Kind, key: Key) -> None:
        """Garbage collection: an object whose owners are all gone goes too."""
        row = self._rows[kind.resource.plural].get(key)
        metadata = row.body["metadata"] if row else {}
        owners = metadata.get("ownerReferences")
        if owners and "deletionTimestamp" not in metadata and not any(self._lives(owner, key[0]) for owner in owners):
            self.delete(kind, key, {}, Intent("garbage-collector"))

    def _lives(self, owner: Object, namespace: str) -> bool:
        for kind in self._kinds.values():
            if (kind.resource.api_version, kind.resource.kind) == (owner["apiVersion"], owner["kind"]):
                row = self._rows[kind.resource.plural].get(
                    (namespace if kind.resource.namespaced else "", owner["name"])
                )
                return row is not None and row.body["metadata"]["uid"] == owner["uid"]
        return True  # of a kind this server does not know, such as a test's own

    def _disown(self, kind: Kind, key: Key, uid: str) -> None:
        row = self._rows[kind.resource.plural].get(key)
        if row is None:
            return
        body = clone(row.body)
        owners = body["metadata"].get("ownerReferences") or []
        body["metadata"]["ownerReferences"] = [owner for owner in owners if owner["uid"] != uid]
        if len(owners) != len(body["metadata"]["ownerReferences"]):
            self._commit(kind, key, _Row(body, row.owners), "MODIFIED")

    def _tell(self, kind: Kind, change: Change) -> None:
        self.history[kind.resource.plural].append(change)
        for listener in self.listeners:
            listener(kind, change)

    def _check(self, kind: Kind, body: Object) -> None:
        kinds.validate(kind, body)
        for admit in self.admission:
            if (objection := admit(kind, body)) is not None:
                raise Refused(422, f'{kind.resource.kind} "{body["metadata"]["name"]}" is invalid: {objection}')

    def _check_namespace(self, kind: Kind, namespace: str) -> None:
        if not kind.resource.namespaced:
            return
        row = self._rows["namespaces"].get(("", namespace))
        if row is None:
            raise Refused(404, f'namespaces "{namespace}" not found')
        if "deletionTimestamp" in row.body["metadata"]:
            raise Refused(403, f"unable to create new content in namespace {namespace} because it is being terminated")

    def _check_same(self, kind: Kind, live: Object, wanted: Object) -> None:
        for name in ("uid", "resourceVersion"):
            value = wanted.get("metadata", {}).get(name)
            if value is not None and value != live["metadata"][name]:
                raise Refused(
                    409,
                    f'Operation cannot be fulfilled on {kind.resource.plural} "{live["metadata"]["name"]}": '
                    "the object has been modified; please apply your changes to the latest version and try again",
                )

    def _row(self, kind: Kind, key: Key) -> _Row:
        row = self._rows[kind.resource.plural].get(key)
        if row is None:
            raise Refused(404, f'{kind.resource.plural} "{key[1]}" not found')
        return row

    def _key(self, kind: Kind, body: Object) -> Key:
        if (body.get("apiVersion"), body.get("kind")) != (kind.resource.api_version, kind.resource.kind):
            raise Refused(400, f"the object provided is no {kind.resource.api_version} {kind.resource.kind}")
        return (body["metadata"].get("namespace", "") if kind.resource.namespaced else "", body["metadata"]["name"])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
