"""`make bench`: what the operator costs a control plane, beside a plain client that writes the same objects.

    python -m tests.bench [N...]        pools in a burst; 1 100 1000 unless given

No pod of these pools ever starts: their node selector matches no node. Figures come from the API server's audit log
and from /proc. Both clients take turns, every second round the other way about, since a machine's pace changes while
one looks: one burst each of the same code came to ratios from 1.4 to 1.6.
"""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench import audit, burst, ground
from tests.bench.figures import Operated, Result, Round
from tests.bench.identity import kubeconfig
from tests.bench.operator_process import OperatorProcess
from tests.localcluster.progress import Progress

from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.kube.transport import RequestOptions

SIZES = (1, 100, 1000)
ROUNDS = 3


async def main(sizes: tuple[int, ...]) -> None:
    """Measure every size and print one table."""
    progress = Progress()
    env, log = ground.prepare(progress)
    lines = [Result.heading()]
    with ground.definitions(env):
        plain_config, plain_user = kubeconfig(env, "plain")
        kube = await Kube.from_kubeconfig(RequestOptions(timeout=30.0), plain_config)
        try:
            bench = _Bench(env, log, kube, plain_user, *kubeconfig(env, "operator"))
            for size in sizes:
                rounds = []
                for number in range(ROUNDS):
                    with progress.step(f"{size} pools, round {number + 1} of {ROUNDS}"):
                        rounds.append(await bench.round(size, operator_first=number % 2 == 1))
                    progress.say(f"plain client {rounds[-1].plain_seconds:.2f} s, ratio {rounds[-1].ratio:.2f}")
                lines.append(str(Result(size, tuple(rounds))))
        finally:
            await kube.close()
    print("\n".join(lines))


@dataclass(frozen=True, slots=True)
class _Bench:
    """Bursts, each in fresh namespaces. log: the API server's audit log; plain: who writes when no operator does."""

    env: dict[str, str]
    log: Path
    kube: Kube
    plain: str
    config: Path
    operator: str

    async def round(self, size: int, *, operator_first: bool) -> Round:
        """Both clients once."""
        if operator_first:
            operated = await self._operator(size)
            return Round(await self._plain(size), operated)
        return Round(await self._plain(size), await self._operator(size))

    async def _plain(self, size: int) -> float:
        """Seconds that the plain client takes for all objects."""
        async with burst.namespaces(self.kube, self.env, *burst.places("bench-plain", size)) as places:
            mark = audit.end(self.log)
            await burst.plain(self.kube, places, size)
            return audit.creating(self.log, mark, (self.plain,), places)

    async def _operator(self, size: int) -> Operated:
        """The operator's burst, then one parameter changed on every pool."""
        async with burst.namespaces(self.kube, self.env, *burst.places("bench-operator", size)) as places:
            with OperatorProcess(self.config) as process:
                await process.ready()
                mark = audit.end(self.log)
                before = process.usage()
                await burst.operated(self.kube, places, size)
                seconds = audit.creating(self.log, mark, (self.plain, self.operator), places)
                created = audit.since(self.log, mark, self.operator, places)
                used = process.usage() - before
                mark = audit.end(self.log)
                changed_seconds = await burst.change(self.kube, places, size)
                changed = audit.since(self.log, mark, self.operator, places)
                return Operated(seconds, created, used, process.memory(), changed_seconds, changed)


if __name__ == "__main__":
    asyncio.run(main(tuple(map(int, sys.argv[1:])) or SIZES))
