"""Cancel running statements, and count which cancels arrive.

    python3 -m load.cancels --cancels 200 --at-once 6      the URL comes from DATABASE_URL

Each cancel has a connection of its own. The cancel request is another connection, so behind a Service it may well reach
another pod. A line of JSON for each cancel on standard output, and a last one with "done": true.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter

import psycopg

# A statement that is still running then was not cancelled. Longer than a name that is looked up twice takes: a cancel
# looks the Service up anew, and a resolver asks again after 5 s when an answer was lost.
STATEMENT_SECONDS = 20
RUNNING = "SELECT count(*)::int FROM pg_stat_activity WHERE query = %s AND state = 'active'"
PAUSE = 0.05


class Counts:
    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.slowest = 0.0

    def line(self, done: bool) -> str:
        return json.dumps({"done": done, "outcomes": dict(self.outcomes), "slowest": round(self.slowest, 3)})


async def cancel_one(url: str, number: int, counts: Counts) -> None:
    """Start a statement, wait until the server runs it, cancel it by another connection, and see what it says."""
    statement = f"SELECT pg_sleep({STATEMENT_SECONDS}) /* {os.getpid()} {number} */"
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as other,
    ):
        running = asyncio.ensure_future(connection.execute(statement, prepare=False))
        while not (running.done() or await runs(other, statement)):
            await asyncio.sleep(PAUSE)
        began = time.monotonic()
        await connection.cancel_safe(timeout=STATEMENT_SECONDS)
        try:
            await running
        except psycopg.errors.QueryCanceled:
            counts.outcomes["arrived"] += 1
            counts.slowest = max(counts.slowest, time.monotonic() - began)
        else:
            counts.outcomes["lost"] += 1


async def runs(other: "psycopg.AsyncConnection[tuple[int]]", statement: str) -> bool:
    row = await (await other.execute(RUNNING, (statement,))).fetchone()
    return row is not None and row[0] > 0


async def work(url: str, numbers: "asyncio.Queue[int]", counts: Counts) -> None:
    while not numbers.empty():
        try:
            await cancel_one(url, numbers.get_nowait(), counts)
        except (psycopg.Error, OSError) as error:
            counts.outcomes[f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"] += 1
        print(counts.line(done=False), flush=True)


async def drive(url: str, cancels: int, at_once: int) -> Counts:
    numbers: asyncio.Queue[int] = asyncio.Queue()
    for number in range(cancels):
        numbers.put_nowait(number)
    counts = Counts()
    await asyncio.gather(*(work(url, numbers, counts) for _ in range(at_once)))
    print(counts.line(done=True), flush=True)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cancels", type=int, default=60)
    parser.add_argument("--at-once", type=int, default=6)
    given = parser.parse_args()
    counts = asyncio.run(drive(os.environ["DATABASE_URL"], given.cancels, given.at_once))
    return 0 if counts.outcomes["arrived"] == given.cancels else 1


if __name__ == "__main__":
    sys.exit(main())
