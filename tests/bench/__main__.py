"""`make bench`: what the operator costs a control plane, beside a plain client that writes the same objects.

    python -m tests.bench [N...]        pools in a burst; 1 100 1000 unless given

No pod of these pools ever starts: their node selector matches no node. Figures come from the API server's audit log
and from /proc; the ratio compares two bursts of the same run.
"""

import asyncio
import sys
from pathlib import Path

from tests.bench import audit, burst, ground
from tests.bench.identity import kubeconfig
from tests.bench.operator_process import OperatorProcess
from tests.localcluster.progress import Progress

from pgbouncer_operator.kube.client import Kube
from pgbouncer_operator.kube.transport import Limits

SIZES = (1, 100, 1000)


async def main(sizes: tuple[int, ...]) -> None:
    """Measure every size and print one table."""
    progress = Progress()
    env, log = ground.prepare(progress)
    lines = [burst.Result.heading()]
    with ground.definitions(env):
        for size in sizes:
            with progress.step(f"{size} pools"):
                lines.append(str(await measure(size, env, log)))
    print("\n".join(lines))


async def measure(size: int, env: dict[str, str], log: Path) -> burst.Result:
    """Plain client first, then the operator, then one parameter changed on every pool; all in fresh namespaces."""
    plain_config, plain_user = kubeconfig(env, "plain")
    operator_config, operator_user = kubeconfig(env, "operator")
    kube = await Kube.from_kubeconfig(Limits(timeout=30.0), plain_config)
    try:
        async with burst.namespace(kube, env, f"bench-plain-{size}") as place:
            mark = audit.end(log)
            await burst.plain(kube, place, size)
            plain_seconds = audit.creating(log, mark, (plain_user,), place)
        async with burst.namespace(kube, env, f"bench-operator-{size}") as place:
            with OperatorProcess(operator_config, place) as process:
                await process.ready()
                mark = audit.end(log)
                before = process.usage()
                await burst.operated(kube, place, size)
                seconds = audit.creating(log, mark, (plain_user, operator_user), place)
                created = audit.since(log, mark, operator_user, place)
                used = process.usage() - before
                mark = audit.end(log)
                changed_seconds = await burst.change(kube, place, size)
                changed = audit.since(log, mark, operator_user, place)
                return burst.Result(
                    size, plain_seconds, seconds, created, used, process.memory(), changed_seconds, changed
                )
    finally:
        await kube.close()


if __name__ == "__main__":
    asyncio.run(main(tuple(map(int, sys.argv[1:])) or SIZES))
