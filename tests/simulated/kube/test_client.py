import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.simulated.apiserver import faults
from tests.simulated.apiserver.faults import Fault
from tests.simulated.apiserver.server import ApiServer
from tests.simulated.kube.clusters import Pair, config_map, pair, pool

from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube, RequestOptions, Selection
from pgbouncer_operator.kube.resources import CONFIG_MAPS, CONNECTION_POOLS, PODS, SECRETS

KEY = ("default", "a")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair(tmp_path, timeout=1.0, chunk=3) as pair_:
        yield pair_


def effective(api: ApiServer) -> list[str]:
    return [write.verb for write in api.writes if write.changed and write.manager == "pgbouncer-operator"]


async def test_a_created_object_can_be_read_back(world: Pair) -> None:
    created = await world.kube.create(CONFIG_MAPS, config_map(k="v"))
    assert await world.kube.get(CONFIG_MAPS, *KEY) == created
    assert created["data"] == {"k": "v"}


async def test_creating_what_exists_leaves_it_as_it_was(world: Pair) -> None:
    world.api.create(config_map(k="theirs"))
    with pytest.raises(errors.AlreadyExists):
        await world.kube.create(CONFIG_MAPS, config_map(k="ours"))
    assert world.api.get(CONFIG_MAPS, *KEY)["data"] == {"k": "theirs"}


async def test_what_does_not_exist_is_not_found(world: Pair) -> None:
    with pytest.raises(errors.NotFound):
        await world.kube.get(CONFIG_MAPS, "default", "nothing")
    with pytest.raises(errors.NotFound, match="nowhere"):
        await world.kube.create(CONFIG_MAPS, config_map() | {"metadata": {"namespace": "nowhere", "name": "a"}})


async def test_applying_the_same_twice_writes_once(world: Pair) -> None:
    await world.kube.apply(CONFIG_MAPS, config_map(k="v"))
    await world.kube.apply(CONFIG_MAPS, config_map(k="v"))
    assert effective(world.api) == ["apply"]


async def test_an_apply_takes_its_former_fields_away_and_no_others(world: Pair) -> None:
    await world.kube.apply(CONFIG_MAPS, config_map(a="1", b="2"))
    world.api.edit(CONFIG_MAPS, KEY, lambda body: body["data"].update(theirs="x"))
    await world.kube.apply(CONFIG_MAPS, config_map(a="1"))
    assert world.api.get(CONFIG_MAPS, *KEY)["data"] == {"a": "1", "theirs": "x"}


async def test_an_apply_with_an_old_version_or_another_uid_changes_nothing(world: Pair) -> None:
    first = await world.kube.apply(CONFIG_MAPS, config_map(k="1"))
    await world.kube.apply(CONFIG_MAPS, config_map(k="2"))
    for precondition in ({"resourceVersion": first["metadata"]["resourceVersion"]}, {"uid": "another"}):
        body = config_map(k="3")
        body["metadata"] |= precondition
        with pytest.raises(errors.Conflict):
            await world.kube.apply(CONFIG_MAPS, body)
    assert world.api.get(CONFIG_MAPS, *KEY)["data"] == {"k": "2"}


async def test_an_unforced_apply_leaves_foreign_fields_alone(world: Pair) -> None:
    world.api.create(config_map(k="theirs"))
    with pytest.raises(errors.Conflict, match=r"data\.k"):
        await world.kube.apply(CONFIG_MAPS, config_map(k="ours"), force=False)
    assert world.api.get(CONFIG_MAPS, *KEY)["data"] == {"k": "theirs"}


async def test_a_replacement_of_an_old_version_is_a_conflict(world: Pair) -> None:
    body = await world.kube.create(CONFIG_MAPS, config_map(k="1"))
    await world.kube.replace(CONFIG_MAPS, body | {"data": {"k": "2"}})
    with pytest.raises(errors.Conflict):
        await world.kube.replace(CONFIG_MAPS, body | {"data": {"k": "3"}})
    assert world.api.get(CONFIG_MAPS, *KEY)["data"] == {"k": "2"}


async def test_a_status_is_written_without_touching_spec_or_generation(world: Pair) -> None:
    world.api.create(pool(mode="session"))
    body = pool(mode="transaction") | {"status": {"ready": 1}}
    after = await world.kube.apply(CONNECTION_POOLS, body, subresource="status")
    assert (after["spec"], after["status"], after["metadata"]["generation"]) == ({"mode": "session"}, {"ready": 1}, 1)


async def test_a_status_of_what_is_gone_creates_nothing(world: Pair) -> None:
    with pytest.raises(errors.NotFound):
        await world.kube.apply(CONNECTION_POOLS, pool() | {"status": {"ready": 1}}, subresource="status")
    assert world.api.find(CONNECTION_POOLS) == []


async def test_a_merge_patch_of_a_pods_status_may_annotate_it(world: Pair) -> None:
    metadata = {"namespace": "default", "name": "a"}
    world.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []}})
    patch = {"metadata": {**metadata, "annotations": {"x": "y"}}, "spec": {"nodeName": "ignored"}}
    after = await world.kube.merge_patch(PODS, patch, subresource="status")
    assert after["metadata"]["annotations"] == {"x": "y"}
    assert "nodeName" not in after["spec"]


async def test_only_exactly_the_known_object_is_deleted(world: Pair) -> None:
    old = await world.kube.create(CONFIG_MAPS, config_map(k="1"))
    new = await world.kube.apply(CONFIG_MAPS, config_map(k="2"))
    with pytest.raises(errors.Conflict):
        await world.kube.delete(CONFIG_MAPS, old)
    await world.kube.delete(CONFIG_MAPS, new)
    assert world.api.find(CONFIG_MAPS) == []
    with pytest.raises(errors.NotFound):
        await world.kube.delete(CONFIG_MAPS, new)


async def test_a_list_is_put_together_from_pages_and_says_what_the_items_are(world: Pair) -> None:
    for number in range(8):
        world.api.create(config_map(f"m{number}"))
    listing = await world.kube.list(CONFIG_MAPS, Selection("default"))
    assert [item["metadata"]["name"] for item in listing.items] == [f"m{number}" for number in range(8)]
    assert {(item["apiVersion"], item["kind"]) for item in listing.items} == {("v1", "ConfigMap")}
    assert listing.resource_version == world.api.storage.version
    assert [call.verb for call in world.calls] == ["list"] * 3


async def test_a_list_whose_pages_expire_starts_over(world: Pair) -> None:
    for number in range(5):
        world.api.create(config_map(f"m{number}"))
    world.api.faults.add(Fault(faults.Answer(410), verb="list"))
    assert len((await world.kube.list(CONFIG_MAPS, Selection())).items) == 5


async def test_a_list_can_be_narrowed_by_label_and_field(world: Pair) -> None:
    for name, label in (("a", "x"), ("b", "y"), ("c", "x")):
        body = config_map(name)
        body["metadata"]["labels"] = {"l": label}
        world.api.create(body)
    listing = await world.kube.list(CONFIG_MAPS, Selection(labels="l=x", fields="metadata.name!=a"))
    assert [item["metadata"]["name"] for item in listing.items] == ["c"]


@pytest.mark.parametrize(
    "action", [faults.Answer(500), faults.Answer(503), faults.DropBefore(), faults.Answer(429, retry_after=0)]
)
async def test_a_read_outlives_a_short_fault(world: Pair, action: faults.Action) -> None:
    world.api.create(config_map(k="v"))
    world.api.faults.add(Fault(action, times=2))
    assert (await world.kube.get(CONFIG_MAPS, *KEY))["data"] == {"k": "v"}


async def test_an_apply_whose_answer_was_lost_is_repeated_and_written_once(world: Pair) -> None:
    world.api.faults.add(Fault(faults.DropAfter(), verb="apply"))
    assert (await world.kube.apply(CONFIG_MAPS, config_map(k="v")))["data"] == {"k": "v"}
    assert effective(world.api) == ["apply"]


async def test_a_create_whose_answer_was_lost_is_not_repeated(world: Pair) -> None:
    world.api.faults.add(Fault(faults.DropAfter(), verb="create"))
    with pytest.raises(errors.Unavailable):
        await world.kube.create(CONFIG_MAPS, config_map(k="v"))
    assert len(world.api.find(CONFIG_MAPS)) == 1


async def test_a_server_that_hangs_is_given_up_after_the_timeout(world: Pair) -> None:
    world.api.faults.add(Fault(faults.Hang(), verb="create"))
    with pytest.raises(errors.Unavailable, match="did not answer within 1 seconds"):
        await world.kube.create(CONFIG_MAPS, config_map())


async def test_a_long_pause_is_left_to_the_caller(world: Pair) -> None:
    world.api.faults.add(Fault(faults.Answer(429, retry_after=60)))
    with pytest.raises(errors.TooManyRequests) as caught:
        await world.kube.get(CONFIG_MAPS, *KEY)
    assert caught.value.retry_after == 60


async def test_a_refused_connection_is_unavailable_and_says_so(tmp_path: Path) -> None:
    async with pair(tmp_path) as world:
        kube = world.kube
        await world.api.__aexit__()
        with pytest.raises(errors.Unavailable, match="Cannot connect to the API"):
            await kube.create(CONFIG_MAPS, config_map())


async def test_a_rejected_secret_is_not_quoted_in_the_error(world: Pair) -> None:
    world.api.storage.admission.append(lambda _, body: f"data: Invalid value: {body.get('data')}")
    secret = base64.b64encode(b"hunter2").decode()
    body = config_map() | {"kind": "Secret", "data": {"password": secret}}
    with pytest.raises(errors.Invalid) as caught:
        await world.kube.create(SECRETS, body)
    assert secret not in str(caught.value)
    assert str(caught.value) == "The API answered 422 Invalid to a request about a Secret."
    with pytest.raises(errors.Invalid, match="Invalid value"):
        await world.kube.create(CONFIG_MAPS, config_map(k="v"))


async def test_every_request_is_observed_with_its_verb_kind_and_code(world: Pair) -> None:
    await world.kube.apply(CONFIG_MAPS, config_map(k="v"))
    with pytest.raises(errors.NotFound):
        await world.kube.get(SECRETS, "default", "x")
    world.api.faults.add(Fault(faults.DropBefore(), verb="create"))
    with pytest.raises(errors.Unavailable):
        await world.kube.create(CONFIG_MAPS, config_map("b"))
    seen = [(call.verb, call.plural, call.code) for call in world.calls]
    assert seen == [("apply", "configmaps", 201), ("get", "secrets", 404), ("create", "configmaps", 0)]


async def test_a_wrong_token_is_unauthorized_and_the_right_one_is_sent(tmp_path: Path) -> None:
    async with ApiServer(token="s3cret") as api:
        api.create(config_map(k="v"))
        path = api.write_kubeconfig(tmp_path / "kubeconfig")
        kube = await Kube.from_kubeconfig(RequestOptions(), path)
        assert (await kube.get(CONFIG_MAPS, *KEY))["data"] == {"k": "v"}
        api.token = "another"
        with pytest.raises(errors.Unauthorized):
            await kube.get(CONFIG_MAPS, *KEY)
        await kube.close()
