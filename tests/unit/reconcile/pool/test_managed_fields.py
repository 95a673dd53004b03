from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.reconcile.pool.managed_fields import handed_over, written_by_us

OURS = naming.FIELD_MANAGER


def entry(manager: str, operation: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": fields, "apiVersion": "v1", **more}


def test_what_we_posted_becomes_what_we_applied() -> None:
    posted = entry(OURS, "Update", {"f:spec": {"f:a": {}}})
    assert handed_over([posted]) == [entry(OURS, "Apply", {"f:spec": {"f:a": {}}})]


def test_posted_and_applied_fields_are_one_entry_afterwards() -> None:
    posted = entry(OURS, "Update", {"f:spec": {"f:a": {}, "f:b": {}}})
    applied = entry(OURS, "Apply", {"f:spec": {"f:b": {}, "f:c": {}}})
    (found,) = handed_over([posted, applied])
    assert found["operation"] == "Apply"
    assert found["fieldsV1"] == {"f:spec": {"f:a": {}, "f:b": {}, "f:c": {}}}


def test_entries_of_others_and_of_subresources_stay_as_they_are() -> None:
    other = entry("kubectl", "Update", {"f:spec": {"f:z": {}}})
    status = entry(OURS, "Update", {"f:status": {}}, subresource="status")
    posted = entry(OURS, "Update", {"f:data": {}})
    assert handed_over([other, posted, status])[1:] == [other, status]
    assert handed_over([other, status]) == [other, status]


def test_of_labels_those_count_as_ours_that_we_wrote_last() -> None:
    ours = entry(OURS, "Update", {"f:metadata": {"f:labels": {".": {}, "f:a.b/c": {}}, "f:annotations": {"f:x": {}}}})
    other = entry("reflector", "Update", {"f:metadata": {"f:labels": {"f:theirs": {}}}})
    body = {"metadata": {"managedFields": [other, ours]}}
    assert written_by_us(body, "labels") == {"a.b/c"}
    assert written_by_us(body, "annotations") == {"x"}
    assert written_by_us({"metadata": {}}, "labels") == set()
