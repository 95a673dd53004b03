"""What sharing out costs the operator: many pools on some PostgresServers, at rest and when one budget changes.

    python -m tests.bench.servers [POOLS [SERVERS [SECONDS]]]        1000 10 60 unless given

On the local cluster, control plane only: no node takes the pools' pods. The pools are there before their servers, so
that the first round of each server sees all of them. Pods that never run confirm nothing: after a budget was lowered
the pools may hold less at once, but stay charged with what they had (`high`) until the budget is back, and the operator
goes on looking at them twice a second: that is most of the CPU of the row after it. Exits 1 when the operator wrote
anything at rest.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import audit, burst, ground
from tests.bench.identity import kubeconfig
from tests.bench.operator_process import OperatorProcess
from tests.localcluster.progress import Progress

from pgbouncer_operator import naming
from pgbouncer_operator.kube import resources
from pgbouncer_operator.kube.client import Kube, Object
from pgbouncer_operator.kube.transport import RequestOptions
from pgbouncer_operator.protocol.grants import Grants, GrantsError
from pgbouncer_operator.reconcile.status.timing import AT_REST, FIGURES_EVERY

PLACE = "bench-servers"
EACH = 15  # connections of a server's budget for each of its pools
WANTS = range(20, 61)  # what pools want: more than there is
QUIET = FIGURES_EVERY + AT_REST  # seconds without a write; news of mere figures are told as late as that
LOOK = 0.1  # seconds between two looks at a server
PATIENCE = 900.0  # seconds


@dataclass(frozen=True, slots=True)
class Size:
    """So many pools, spread evenly over so many servers; seconds at rest."""

    pools: int = 1000
    servers: int = 10
    seconds: float = 60.0

    def members(self, server: int) -> range:
        """The numbers of a server's pools."""
        return range(server, self.pools, self.servers)

    def budget(self, server: int) -> int:
        """Less than its pools want, and more than the least that they need."""
        return EACH * len(self.members(server))


@dataclass(frozen=True, slots=True)
class Watched:
    """The operator's process, and what the audit log says of its user in one namespace."""

    process: OperatorProcess
    log: Path
    user: str
    place: str

    def writes(self, mark: int) -> Counter[str]:
        """Its writes of every kind since then, Events and pokes too; leases are not counted."""
        return audit.written(audit.since(self.log, mark, self.user, (self.place,)))

    def begin(self) -> "Begun":
        """Count from now on."""
        return Begun(self, audit.end(self.log), time.monotonic(), self.process.usage().cpu)

    async def quiet(self) -> None:
        """Return after QUIET seconds without a write. TimeoutError names what it writes on and on."""
        deadline, since, mark = time.monotonic() + PATIENCE, time.monotonic(), audit.end(self.log)
        while time.monotonic() - since < QUIET:
            await asyncio.sleep(1)
            end = audit.end(self.log)
            if found := self.writes(mark):
                since = time.monotonic()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the operator never rests; its last writes: {kinds(found)}")
            mark = end


@dataclass(frozen=True, slots=True)
class Begun:
    """Where counting began."""

    watched: Watched
    mark: int
    at: float
    cpu: float

    def row(self, step: str) -> "Row":
        """What there was until now."""
        seconds = time.monotonic() - self.at
        return Row(step, seconds, self.watched.process.usage().cpu - self.cpu, self.watched.writes(self.mark))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    step: str
    seconds: float
    cpu: float
    writes: Counter[str]

    def line(self, resting: float) -> str:
        """resting: CPU seconds of a second at rest."""
        figures = f"{self.seconds:.1f} | {self.cpu:.2f} | {resting * self.seconds:.2f} | {self.writes.total()}"
        return f"| {self.step} | {figures} | {kinds(self.writes)} |"


HEADING = "| step | s | CPU s | CPU s at rest for as long | writes | by kind |\n|" + "---|" * 6


def kinds(writes: Counter[str]) -> str:
    """Writes by kind."""
    return ", ".join(f"{key} {count}" for key, count in sorted(writes.items())) or "none"


def server(place: str, number: int, budget: int) -> dict[str, Any]:
    """A server that its own namespace's pools share."""
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.SERVER_KIND,
        "metadata": {"name": f"server-{number}", "namespace": place},
        "spec": {"host": f"postgres-{number}.invalid", "connections": {"max": budget}},
    }


def pool(place: str, number: int, size: Size) -> dict[str, Any]:
    """A pool of its server, which wants more than its equal part."""
    body = burst.pool(place, number)
    spec = {
        "backend": {"serverRef": {"name": f"server-{number % size.servers}"}},
        "serverConnections": {"max": WANTS[number % len(WANTS)]},
    }
    return {**body, "spec": body["spec"] | spec}


async def build(kube: Kube, place: str, size: Size) -> None:
    """All pools, then all servers; until each server has shared out its budget and each pool's ledger says so."""

    async def write_pool(number: int) -> None:
        await kube.create(resources.CONNECTION_POOLS, pool(place, number, size))

    async def write_server(number: int) -> None:
        await kube.create(resources.POSTGRES_SERVERS, server(place, number, size.budget(number)))

    await burst.spread(write_pool, size.pools)
    names = [f"pool-{each}" for each in range(size.pools)]
    await burst.everywhere(kube, resources.CONNECTION_POOLS, names, place, burst.told)
    await burst.spread(write_server, size.servers)
    for number in range(size.servers):
        await shared_out(kube, place, number, partial(rests, number=number, size=size))


async def change(kube: Kube, place: str, budget: int) -> None:
    """Another budget for the first server."""
    await kube.merge_patch(resources.POSTGRES_SERVERS, server(place, 0, budget))


def rests(status: Object, number: int, size: Size) -> bool:
    """Whether all that is there, or all that is wanted, has been given to all pools, and nothing moves."""
    found, members = status.get("allocations") or (), size.members(number)
    expected = min(size.budget(number), sum(WANTS[each % len(WANTS)] for each in members))
    given = sum(each["connections"] for each in found)
    moving = any(each["high"] != each["connections"] for each in found)
    return bool(len(found) == len(members) and given == expected == status.get("allocated") and not moving)


def within(status: Object, budget: int) -> bool:
    """Whether the pools are given no more than the new budget, and all of it. What they still hold is not asked."""
    given = sum(each["connections"] for each in status.get("allocations") or ())
    return bool(status.get("budget") == budget == given)


async def shared_out(kube: Kube, place: str, number: int, shows: Callable[[Object], bool]) -> None:
    """Wait until the server's status shows it, and every ledger of its pools was made from it."""
    name, deadline = f"server-{number}", time.monotonic() + PATIENCE
    while True:
        status = (await kube.get(resources.POSTGRES_SERVERS, place, name)).get("status") or {}
        if shows(status):
            break
        if time.monotonic() > deadline:
            given = sum(each["connections"] for each in status.get("allocations") or ())
            raise TimeoutError(f"{name} gives {given} and charges {status.get('allocated')} of {status.get('budget')}")
        await asyncio.sleep(LOOK)
    pools = {each["pool"].partition("/")[2]: each["seq"] for each in status["allocations"]}
    rounds = {naming.grants_config_map(pool): seq for pool, seq in pools.items()}

    def follows(ledger: Object) -> bool:
        awaited = rounds.get(ledger["metadata"]["name"])
        if awaited is None:
            return False
        try:
            grants = Grants.from_json(ledger["data"][naming.GRANTS_KEY])
        except GrantsError:
            return False
        return grants.server == f"{place}/{name}" and grants.allocation >= int(awaited)

    await burst.everywhere(kube, resources.CONFIG_MAPS, list(rounds), place, follows)


async def measure(kube: Kube, watched: Watched, size: Size) -> list[Row]:
    """At rest; one budget a tenth lower; the same budget back. The operator rests before each."""
    begun = watched.begin()
    await asyncio.sleep(size.seconds)
    rows = [begun.row("at rest")]
    full = size.budget(0)
    less = full - full // 10
    begun = watched.begin()
    await change(kube, watched.place, less)
    await shared_out(kube, watched.place, 0, partial(within, budget=less))
    rows.append(begun.row("budget a tenth lower, until every ledger has it"))
    await watched.quiet()
    rows.append(begun.row("the same, until quiet"))
    begun = watched.begin()
    await change(kube, watched.place, full)
    await shared_out(kube, watched.place, 0, partial(rests, number=0, size=size))
    rows.append(begun.row("budget back, until every ledger has it"))
    await watched.quiet()
    rows.append(begun.row("the same, until quiet"))
    return rows


def table(rows: list[Row], size: Size) -> str:
    """The rows, beside the first, which is of rest."""
    resting = rows[0].cpu / rows[0].seconds
    about = f"{size.pools} pools on {size.servers} servers; quiet is {QUIET:.0f} s without a write"
    return "\n".join([f"{about}\n", HEADING, *(row.line(resting) for row in rows)])


async def main(size: Size) -> int:
    """Measure and print one table; 1 when there was a write at rest."""
    progress = Progress()
    env, log = ground.prepare(progress)
    with ground.definitions(env):
        plain_config, _ = kubeconfig(env, "plain")
        operator_config, operator_user = kubeconfig(env, "operator")
        kube = await Kube.from_kubeconfig(RequestOptions(timeout=30.0), plain_config)
        try:
            async with burst.namespaces(kube, env, PLACE) as (place,):
                with OperatorProcess(operator_config) as process:
                    watched = Watched(process, log, operator_user, place)
                    with progress.step(f"{size.pools} pools on {size.servers} servers, until quiet"):
                        await process.ready()
                        await build(kube, place, size)
                        await watched.quiet()
                    with progress.step("at rest, and one budget down and up again"):
                        rows = await measure(kube, watched, size)
        finally:
            await kube.close()
    print(table(rows, size))
    return 1 if rows[0].writes else 0


def asked(argv: list[str]) -> Size:
    """The size by the command line; never more servers than pools."""
    given = Size(*map(int, argv))
    return Size(given.pools, min(given.pools, given.servers), given.seconds)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(asked(sys.argv[1:]))))
