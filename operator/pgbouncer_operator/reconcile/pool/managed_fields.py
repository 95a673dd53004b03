"""The owners of an object's fields: the hand-over from our POST to our server-side applies. Pure.

The API server records a POST as an "Update" of all its fields, and a later apply does not remove fields of an Update.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pgbouncer_operator import naming

Entry = Mapping[str, Any]


def handed_over(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """`managedFields` with every field of ours under one "Apply" entry; the entries of others stay as they are."""
    ours = [entry for entry in entries if entry.get("manager") == naming.FIELD_MANAGER and not entry.get("subresource")]
    others = [dict(entry) for entry in entries if entry not in ours]
    if not ours:
        return others
    fields: dict[str, Any] = {}
    for entry in ours:
        fields = _union(fields, entry.get("fieldsV1") or {})
    return [{**ours[0], "operation": "Apply", "fieldsV1": fields}, *others]


def written_by_us(body: Mapping[str, Any], field: str) -> frozenset[str]:
    """Names of the labels or annotations (`field`) of a live object that we wrote last; empty if nobody recorded it."""
    entries = body["metadata"].get("managedFields") or ()
    ours = [each.get("fieldsV1") or {} for each in entries if each.get("manager") == naming.FIELD_MANAGER]
    names = {name for each in ours for name in each.get("f:metadata", {}).get(f"f:{field}", {})}
    return frozenset(name.removeprefix("f:") for name in names if name != ".")


def _union(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _union(left.get(key, {}), right.get(key, {})) for key in sorted({*left, *right})}
