import pytest
from tests.simulated.apiserver.apply import ApplyConflict, Owners, apply, fields_v1, leaves, paths_of, updated
from tests.simulated.apiserver.records import Object

US, THEM = ("us", ""), ("them", "")


def deployment(*containers: Object, **spec: object) -> Object:
    return {"metadata": {"name": "x"}, "spec": {"template": {"spec": {"containers": list(containers)}}, **spec}}


def test_a_field_no_longer_applied_disappears_and_its_siblings_stay() -> None:
    body, owners = apply({}, {}, {"data": {"a": "1", "b": "2"}}, US, force=True)
    body, owners = apply(body, owners, {"data": {"a": "1"}}, US, force=True)
    assert body == {"data": {"a": "1"}}


def test_what_another_manager_wrote_stays() -> None:
    body, owners = apply({}, {}, {"data": {"a": "1"}}, US, force=True)
    after = {"data": {"a": "1", "theirs": "x"}}
    owners = updated(body, after, owners, THEM)
    body, owners = apply(after, owners, {"data": {"a": "2"}}, US, force=True)
    assert body == {"data": {"a": "2", "theirs": "x"}}


def test_fields_of_a_post_outlive_an_apply_that_drops_them() -> None:
    posted = {"data": {"a": "1", "b": "2"}}
    owners = updated({}, posted, {}, US)
    body, owners = apply(posted, owners, {"data": {"a": "1"}}, US, force=True)
    assert body == posted


def test_a_contested_field_is_a_conflict_unless_forced() -> None:
    body, owners = apply({}, {}, {"spec": {"replicas": 1}}, US, force=False)
    with pytest.raises(ApplyConflict, match=r'conflict with "us": .spec.replicas'):
        apply(body, owners, {"spec": {"replicas": 2}}, THEM, force=False)
    forced, owners = apply(body, owners, {"spec": {"replicas": 2}}, THEM, force=True)
    assert forced == {"spec": {"replicas": 2}}
    ours, _ = apply(forced, owners, {"metadata": {"labels": {"a": "b"}}}, US, force=False)
    assert ours["spec"] == {"replicas": 2}, "we lost the field, so letting go of it removes nothing"


def test_the_same_value_is_shared_and_goes_with_its_last_owner() -> None:
    body, owners = apply({}, {}, {"data": {"a": "1"}}, US, force=False)
    body, owners = apply(body, owners, {"data": {"a": "1"}}, THEM, force=False)
    body, owners = apply(body, owners, {"data": {}}, US, force=False)
    assert body["data"] == {"a": "1"}
    body, owners = apply(body, owners, {"metadata": {"labels": {"x": "y"}}}, THEM, force=False)
    assert body["data"] == {}


def test_items_of_a_keyed_list_are_merged_by_key() -> None:
    body, owners = apply({}, {}, deployment({"name": "a", "image": "1"}, {"name": "b", "image": "1"}), US, force=True)
    injected = deployment({"name": "a", "image": "1"}, {"name": "b", "image": "1"}, {"name": "mesh", "image": "9"})
    owners = updated(body, injected, owners, THEM)
    body, owners = apply(injected, owners, deployment({"name": "a", "image": "2"}), US, force=True)
    assert body["spec"]["template"]["spec"]["containers"] == [
        {"name": "a", "image": "2"},
        {"name": "mesh", "image": "9"},
    ]


def test_ports_are_keyed_by_number_and_protocol_with_its_default() -> None:
    body, owners = apply({}, {}, {"spec": {"ports": [{"port": 1, "protocol": "TCP", "name": "x"}]}}, US, force=True)
    body, owners = apply(body, owners, {"spec": {"ports": [{"port": 1, "name": "y"}]}}, US, force=True)
    assert body["spec"]["ports"] == [{"port": 1, "name": "y"}] or body["spec"]["ports"][0]["name"] == "y"
    assert len(body["spec"]["ports"]) == 1


def test_other_lists_are_replaced_as_a_whole() -> None:
    body, owners = apply({}, {}, {"spec": {"args": ["a", "b"]}}, US, force=True)
    body, owners = apply(body, owners, {"spec": {"args": ["c"]}}, US, force=True)
    assert body == {"spec": {"args": ["c"]}}


def test_applying_the_same_again_changes_nothing() -> None:
    body: Object = {}
    owners: Owners = {}
    wanted = deployment({"name": "a", "env": [{"name": "E", "value": "1"}]}, replicas=1)
    body, owners = apply(body, owners, wanted, US, force=True)
    assert apply(body, owners, wanted, US, force=True) == (body, owners)


def test_managed_fields_can_be_read_back() -> None:
    paths = frozenset(leaves(deployment({"name": "a", "ports": [{"containerPort": 1}]}, replicas=1)))
    assert frozenset(paths_of(fields_v1(paths))) == paths
