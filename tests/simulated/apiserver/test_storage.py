from typing import Any

import pytest
from tests.simulated.apiserver.records import Object
from tests.simulated.apiserver.server import ApiServer
from tests.simulated.apiserver.status import Refused

from pgbouncer_operator.kube.resources import CONFIG_MAPS, CONNECTION_POOLS, DEPLOYMENTS, NAMESPACES, PODS, SECRETS


def of(kind: str, name: str, api_version: str = "v1", **fields: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"namespace": "default", "name": name}, **fields}


def pool(name: str = "p") -> Object:
    return of("ConnectionPool", name, "pgbouncer-operator.io/v1alpha1", spec={})


def owned(body: Object, *owners: Object) -> Object:
    references = [
        {"apiVersion": owner["apiVersion"], "kind": owner["kind"]}
        | {field: owner["metadata"][field] for field in ("name", "uid")}
        for owner in owners
    ]
    body["metadata"]["ownerReferences"] = references
    return body


def names(api: ApiServer) -> list[str]:
    return [body["metadata"]["name"] for body in api.find(CONFIG_MAPS)]


def test_what_an_object_owned_goes_with_it_down_to_the_grandchildren() -> None:
    api = ApiServer()
    parent = api.create(pool())
    child = api.create(owned(of("ConfigMap", "child"), parent))
    api.create(owned(of("ConfigMap", "grandchild"), child))
    api.create(of("ConfigMap", "stranger"))
    api.delete(CONNECTION_POOLS, ("default", "p"))
    assert names(api) == ["stranger"]


def test_an_object_with_a_living_owner_stays_and_one_with_none_goes_at_once() -> None:
    api = ApiServer()
    first, second = api.create(pool("a")), api.create(pool("b"))
    api.create(owned(of("ConfigMap", "shared"), first, second))
    api.delete(CONNECTION_POOLS, ("default", "a"))
    assert names(api) == ["shared"]
    api.create(owned(of("ConfigMap", "orphan-of-a-former-pool"), first))
    assert names(api) == ["shared"]


def test_orphans_stay_when_asked_to() -> None:
    api = ApiServer()
    api.create(owned(of("ConfigMap", "child"), api.create(pool())))
    api.delete(CONNECTION_POOLS, ("default", "p"), propagationPolicy="Orphan")
    assert names(api) == ["child"]
    assert not api.find(CONFIG_MAPS)[0]["metadata"].get("ownerReferences")


def test_a_finalizer_keeps_an_object_until_it_is_removed() -> None:
    api = ApiServer()
    body = of("ConfigMap", "kept")
    body["metadata"]["finalizers"] = ["x/y"]
    api.create(body)
    api.delete(CONFIG_MAPS, ("default", "kept"))
    assert "deletionTimestamp" in api.find(CONFIG_MAPS)[0]["metadata"]
    api.edit(CONFIG_MAPS, ("default", "kept"), lambda body: body["metadata"].update(finalizers=[]))
    assert names(api) == []


def test_only_a_change_of_the_spec_counts_as_a_generation() -> None:
    api = ApiServer()
    key = ("default", "p")
    api.create(pool())
    api.edit(CONNECTION_POOLS, key, lambda body: body["metadata"].update(labels={"a": "b"}))
    api.edit(CONNECTION_POOLS, key, lambda body: body.update(status={"x": 1}), "status")
    assert api.get(CONNECTION_POOLS, *key)["metadata"]["generation"] == 1
    api.edit(CONNECTION_POOLS, key, lambda body: body["spec"].update(x=1))
    assert api.get(CONNECTION_POOLS, *key)["metadata"]["generation"] == 2


def test_each_endpoint_takes_only_its_part() -> None:
    api = ApiServer()
    key = ("default", "p")
    api.create(pool() | {"status": {"x": 1}})
    api.edit(CONNECTION_POOLS, key, lambda body: body.update(status={"x": 2}))
    assert "status" not in api.get(CONNECTION_POOLS, *key)

    def everything(body: Object) -> None:
        body["spec"] = {"changed": True}
        body["metadata"]["annotations"] = {"a": "b"}
        body["status"] = {"x": 3}

    after = api.edit(CONNECTION_POOLS, key, everything, "status")
    assert (after["spec"], after["status"]) == ({}, {"x": 3})
    assert "annotations" not in after["metadata"]


def test_a_write_that_changes_nothing_is_no_new_version() -> None:
    api = ApiServer()
    before = api.create(of("ConfigMap", "a", data={"k": "v"}))
    after = api.edit(CONFIG_MAPS, ("default", "a"), lambda body: body["data"].update(k="v"))
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert [write.changed for write in api.writes if write.plural == "configmaps"] == [True, False]


def test_a_deployments_selector_and_a_pods_spec_cannot_change() -> None:
    api = ApiServer()
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    api.create(of("Deployment", "d", "apps/v1", spec=spec))
    with pytest.raises(Refused, match="immutable"):
        api.edit(DEPLOYMENTS, ("default", "d"), lambda body: body["spec"].update(selector={"matchLabels": {}}))
    api.create(of("Pod", "p", spec=template["spec"]))
    with pytest.raises(Refused, match="pod updates may not change"):
        api.edit(PODS, ("default", "p"), lambda body: body["spec"].update(hostNetwork=True))


def test_a_secrets_plain_data_is_encoded() -> None:
    api = ApiServer()
    api.create(of("Secret", "s", stringData={"password": "x"}))
    assert api.get(SECRETS, "default", "s")["data"] == {"password": "eA=="}
    assert api.get(SECRETS, "default", "s")["type"] == "Opaque"


def test_a_namespace_that_ends_takes_everything_along_and_nothing_new() -> None:
    api = ApiServer()
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    body = of("ConfigMap", "a")
    body["metadata"]["namespace"] = "team"
    api.create(body)
    api.delete(NAMESPACES, ("", "team"))
    assert names(api) == []
    with pytest.raises(Refused, match="being terminated"):
        api.create(body)


def test_fields_of_a_post_can_be_handed_over_to_apply() -> None:
    api = ApiServer()
    body = of("ConfigMap", "a", data={"k": "v", "old": "x"})
    api.create(body)

    def hand_over(body: Object) -> None:
        body["metadata"]["managedFields"][0] |= {"operation": "Apply", "manager": "ours"}

    api.edit(CONFIG_MAPS, ("default", "a"), hand_over)
    entries = api.get(CONFIG_MAPS, "default", "a")["metadata"]["managedFields"]
    assert [(entry["manager"], entry["operation"]) for entry in entries] == [("ours", "Apply")]
    assert entries[0]["fieldsV1"]["f:data"] == {"f:k": {}, "f:old": {}}
