"""Somebody who may write ConfigMaps in a pool's namespace forges its ledger: nobody else pays for it."""

import json
from typing import Any

import pytest
from tests.simulated.apiserver.records import Object
from tests.simulated.operators import Cluster, highest
from tests.simulated.test_postgres_server import allocated, held, member, respec, server, status

from pgbouncer_operator import naming
from pgbouncer_operator.kube.resources import CONFIG_MAPS, CONNECTION_POOLS, POSTGRES_SERVERS
from pgbouncer_operator.reconcile.intervals import Intervals

BUDGET, HALF = 40, 20


@pytest.fixture
def world(world: Cluster) -> Cluster:
    world.intervals = Intervals(sessions=3)
    world.api.create(server(BUDGET))
    world.api.create(member("one", BUDGET))
    world.api.create(member("two", BUDGET))
    return world


def forge(world: Cluster, most: int, rounds: int) -> None:
    """A pod that does not exist holds `most`, by a round of the server that is far above its own."""

    def edit(body: Any) -> None:
        ledger = json.loads(body["data"][naming.GRANTS_KEY])
        ledger["pods"]["forged"] = {"cap": most, "high": most, "seq": ledger["seq"], "gone": 4_000_000_000}
        ledger["allocation"] += rounds
        body["data"][naming.GRANTS_KEY] = json.dumps(ledger)

    world.api.edit(CONFIG_MAPS, ("default", naming.grants_config_map("one")), edit)


def charge(world: Cluster, name: str) -> int:
    entries = {each["pool"]: each for each in status(world).get("allocations") or ()}
    entry: Object = entries.get(f"default/{name}", {"connections": 0, "high": 0})
    return max(entry["connections"], entry["high"])


@pytest.mark.parametrize("rounds", [0, 10_002, 2**70])
@pytest.mark.parametrize("most", [30, 9_999, 10**30])
async def test_a_pool_is_charged_with_no_more_than_it_was_given_whatever_its_ledger_says(
    world: Cluster, most: int, rounds: int
) -> None:
    async with world.operator():
        await world.until(lambda: held(world) == BUDGET, "all in use")
        await world.until_ready("one", "two")
        async with highest(lambda: charge(world, "one")) as peak:
            forge(world, most, rounds)
            await world.until(lambda: "forged" not in grants(world), "the ledger is put right")
            respec(world, CONNECTION_POOLS, "default", "one", serverConnections={"max": 10})
            await world.until(lambda: allocated(world) == {"one": 10, "two": 30}, "the other grows")
        assert peak[0] <= HALF
        await world.until(lambda: held(world) == BUDGET, "all in use again")
        await world.until_ready("one", "two")


def grants(world: Cluster) -> Object:
    text = world.api.get(CONFIG_MAPS, "default", naming.grants_config_map("one"))["data"][naming.GRANTS_KEY]
    found: Object = json.loads(text)["pods"]
    return found


def said(world: Cluster) -> str:
    return " ".join(each["message"] for each in status(world).get("conditions") or ())


async def test_the_server_says_whose_ledger_is_off_and_for_how_long(world: Cluster) -> None:
    async with world.operator():
        await world.until(lambda: held(world) == BUDGET, "all in use")
        forge(world, 9_999, 0)
        await world.until(lambda: "more than this server gave: default/one. Each" in said(world), "it is told")
        await world.until(lambda: "more than this server gave" not in said(world), "no longer")


async def test_a_removed_or_older_status_takes_no_allocation_back_while_the_operator_runs(world: Cluster) -> None:
    async with world.operator():
        await world.until(lambda: held(world) == BUDGET, "all in use")
        respec(world, CONNECTION_POOLS, "default", "one", serverConnections={"max": 10})
        await world.until(lambda: held(world) == BUDGET and allocated(world) == {"one": 10, "two": 30}, "a later round")
        await world.until_ready("one", "two")
        await world.settled(1.0)
        before = status(world)
        kept = {name: before[name] for name in ("seq", "allocations", "allocated")}

        def older(body: Any) -> None:
            body["status"] = {**before, "seq": 1, "allocations": [{**before["allocations"][0], "seq": 1, "high": 1}]}

        for restored in (lambda body: body.pop("status"), older):
            world.api.edit(POSTGRES_SERVERS, ("platform", "rds"), restored, "status")
            await world.until(lambda: {**before, **status(world)} == {**status(world), **kept}, "as before")
