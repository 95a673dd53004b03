"""Which operator serves an object, decided by several operators at one API server in memory."""

import copy
from dataclasses import dataclass, field
from typing import Any, cast

from tests.unit.reconcile import looks

from pgbouncer_operator.kube import errors
from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.kube.events import Event, Regarding
from pgbouncer_operator.kube.resources import CONNECTION_POOLS, POSTGRES_SERVERS, Resource
from pgbouncer_operator.reconcile.cache.cluster import ClusterCache, project
from pgbouncer_operator.reconcile.cache.keys import AnyKey, ServerKey
from pgbouncer_operator.reconcile.intervals import NORMAL
from pgbouncer_operator.reconcile.ownership import RETRY, Ownership

SHOP, CART = ("web", "shop"), ("web", "cart")
RDS = ServerKey("platform", "rds")
Object = dict[str, Any]


@dataclass(slots=True)
class Api:
    """Pools and servers, whose status is written by compare and swap, and the time."""

    objects: dict[AnyKey, Object] = field(default_factory=dict)
    without_field: set[Resource] = field(default_factory=set)
    """The kinds whose definitions drop the field."""
    version: int = 10
    now: float = 0.0
    writes: int = 0

    def create(self, key: AnyKey, operator: str = "", **metadata: Any) -> None:
        body = copy.deepcopy(looks.pool())
        if isinstance(key, ServerKey):
            body |= {"apiVersion": POSTGRES_SERVERS.api_version, "kind": POSTGRES_SERVERS.kind}
            body["spec"] = {"host": "postgres", "connections": {"max": 60}}
        namespace, name = key.plain if isinstance(key, ServerKey) else key
        body["metadata"] |= {"namespace": namespace, "name": name, "uid": f"uid-{name}", **metadata}
        self.objects[key] = body
        self.write(key, operator)

    def write(self, key: AnyKey, operator: str) -> None:
        body = copy.deepcopy(self.objects[key])
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        body["status"] = {"operator": operator} if operator and _resource(key) not in self.without_field else {}
        self.objects[key] = body

    def operator(self, key: AnyKey) -> str:
        return str(self.objects[key]["status"].get("operator", ""))

    async def merge_patch(self, resource: Resource, body: Object, subresource: str) -> Object:
        metadata = body["metadata"]
        plain = (metadata["namespace"], metadata["name"])
        key: AnyKey = ServerKey(*plain) if resource is POSTGRES_SERVERS else plain
        assert subresource == "status"
        if metadata["resourceVersion"] != self.objects[key]["metadata"]["resourceVersion"]:
            raise errors.Conflict("the object has been modified", 409)
        self.writes += 1
        self.write(key, body["status"]["operator"])
        return self.objects[key]


def _resource(key: AnyKey) -> Resource:
    return POSTGRES_SERVERS if isinstance(key, ServerKey) else CONNECTION_POOLS


class Operator:
    """One operator that watches everything."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api, self.world = api, ClusterCache()
        self.ownership = Ownership(
            cast(Kube, api), self.world, namespace, lambda: api.now, self._tell, lambda _: None, NORMAL
        )

    async def _tell(self, about: Regarding, event: Event) -> None:
        """Its events are not looked at."""

    async def serves(self, key: AnyKey) -> bool:
        """Whether it serves the object, after it has seen what is written now."""
        for each, body in self.api.objects.items():
            self.world.put(project(_resource(each), body))
        return await self.ownership.stands_by(key) is None


async def test_of_two_operators_one_goes_on_with_an_object_that_is_being_deleted() -> None:
    api = Api()
    for key in (SHOP, RDS):
        api.create(key, operator="one", deletionTimestamp="2026-01-01T00:00:00Z")
    one, two = Operator(api, "one"), Operator(api, "two")
    for key in (SHOP, RDS):
        assert (await one.serves(key), await two.serves(key)) == (True, False)


async def test_of_two_operators_one_begins_with_an_object_that_is_being_deleted() -> None:
    api = Api()
    api.create(SHOP, deletionTimestamp="2026-01-01T00:00:00Z")
    assert [await Operator(api, each).serves(SHOP) for each in ("one", "two")] == [True, False]


async def test_an_object_that_is_being_deleted_is_taken_over_from_an_operator_that_is_gone() -> None:
    api = Api()
    api.create(SHOP, operator="gone", deletionTimestamp="2026-01-01T00:00:00Z")
    two = Operator(api, "two")
    served = []
    for api.now in (0.0, NORMAL.ask, NORMAL.ask + NORMAL.answer):
        served.append(await two.serves(SHOP))
    assert (served, api.operator(SHOP)) == ([False, False, True], "two")


async def test_an_operator_asks_about_another_object_when_a_third_one_has_taken_over_the_first() -> None:
    api = Api()
    for key in (SHOP, CART):
        api.create(key, operator="gone")
    two = Operator(api, "two")
    assert not any([await two.serves(SHOP), await two.serves(CART)])
    api.now = NORMAL.ask
    assert not await two.serves(SHOP)
    assert api.operator(SHOP) == "gone asked by two"
    api.write(SHOP, "three")
    assert not any([await two.serves(SHOP), await two.serves(CART)])
    assert api.operator(CART) == "gone asked by two"
    api.now += NORMAL.answer
    assert (await two.serves(SHOP), await two.serves(CART)) == (False, True)


async def test_an_operator_asks_again_after_another_one_that_asked_in_its_place_and_is_gone() -> None:
    api = Api()
    api.create(SHOP, operator="gone")
    two = Operator(api, "two")
    assert not await two.serves(SHOP)
    api.now = NORMAL.ask
    assert not await two.serves(SHOP)
    api.write(SHOP, "gone asked by three")
    assert not await two.serves(SHOP)
    api.now += 2 * NORMAL.answer
    assert not await two.serves(SHOP)
    assert api.operator(SHOP) == "gone asked by two"


async def test_a_definition_that_drops_the_field_says_nothing_about_the_other_kind() -> None:
    api = Api(without_field={POSTGRES_SERVERS})
    api.create(RDS)
    api.create(SHOP)
    one, two = Operator(api, "one"), Operator(api, "two")
    assert [await each.serves(RDS) for each in (one, two)] == [True, True], "as before there was the field"
    assert [await each.serves(SHOP) for each in (one, two)] == [True, False]


async def test_a_definition_that_is_upgraded_under_running_operators_leaves_one_of_them() -> None:
    api = Api(without_field={CONNECTION_POOLS})
    api.create(SHOP)
    one, two = Operator(api, "one"), Operator(api, "two")
    assert [await each.serves(SHOP) for each in (one, two)] == [True, True]
    api.without_field.clear()
    api.now = RETRY
    assert await one.serves(SHOP)
    assert not await two.serves(SHOP)
    assert api.operator(SHOP) == "one"


async def test_a_definition_without_the_field_costs_a_write_of_each_kind_in_ten_minutes() -> None:
    api = Api(without_field={CONNECTION_POOLS})
    for key in (SHOP, CART):
        api.create(key)
    one = Operator(api, "one")
    for api.now in (0.0, RETRY - 1, RETRY, RETRY + 1):
        assert await one.serves(SHOP)
        assert await one.serves(CART)
    assert api.writes == 2
