"""Many clients of one database, each a real connection of psycopg, and an account of every transaction.

    python3 -m load.clients --clients 1000 --reconnecting 100 --seconds 20      the URL comes from DATABASE_URL

A line of JSON a second on standard output, and a last one with "done": true. A transaction is one insert and one read
between BEGIN and COMMIT; it failed when the client saw any error. --reconnecting clients connect for each transaction.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import psycopg

CONNECT_SECONDS = 60
CONNECTING_AT_ONCE = 40
TABLE = "CREATE TABLE IF NOT EXISTS load (id bigserial PRIMARY KEY, client int NOT NULL, worker int NOT NULL)"


@dataclass(slots=True)
class Account:
    """What all clients of this process saw, since the start."""

    connected: int = 0
    most_connected: int = 0
    refused: int = 0
    committed: int = 0
    failed: int = 0
    in_transaction: int = 0
    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def opened(self) -> None:
        self.connected += 1
        self.most_connected = max(self.most_connected, self.connected)

    def blame(self, error: Exception) -> None:
        words = " ".join(str(error).split())
        self.errors[words.rpartition(" failed: ")[2][:160] or type(error).__name__] += 1

    def line(self, **more: object) -> str:
        ordered = sorted(self.seconds)
        return json.dumps(
            {
                "connected": self.connected,
                "most_connected": self.most_connected,
                "refused": self.refused,
                "committed": self.committed,
                "failed": self.failed,
                "in_transaction": self.in_transaction,
                "p50": round(ordered[len(ordered) // 2], 4) if ordered else None,
                "p99": round(ordered[int(len(ordered) * 0.99)], 4) if ordered else None,
                "errors": dict(self.errors.most_common(5)),
                **more,
            }
        )


@dataclass(frozen=True, slots=True)
class Load:
    """What to do: see the arguments."""

    url: str
    clients: int
    reconnecting: int
    seconds: float
    think: float
    lifetime: float
    worker: int
    hold: bool


class Client:
    """One client: connects, commits, thinks, and so on until the end."""

    def __init__(self, number: int, load: Load, account: Account, gate: asyncio.Semaphore) -> None:
        self.number = number
        self.load = load
        self.account = account
        self.gate = gate

    async def run(self, until: float) -> None:
        reconnecting = self.number < self.load.reconnecting
        lifetime = 0.0 if reconnecting else self.load.lifetime
        while time.monotonic() < until:
            connection = await self.connect()
            if connection is None:
                if self.load.hold:
                    return
                await asyncio.sleep(0.2)
                continue
            await self.use(connection, until, lifetime)

    async def connect(self) -> "psycopg.AsyncConnection[tuple[int]] | None":
        try:
            async with self.gate:
                return await psycopg.AsyncConnection.connect(
                    self.load.url, autocommit=True, connect_timeout=CONNECT_SECONDS
                )
        except (psycopg.Error, OSError) as error:
            self.account.refused += 1
            self.account.blame(error)
            return None

    async def use(self, connection: "psycopg.AsyncConnection[tuple[int]]", until: float, lifetime: float) -> None:
        self.account.opened()
        born = time.monotonic()
        try:
            while time.monotonic() < until:
                await self.transact(connection)
                await asyncio.sleep(random.uniform(0.5, 1.5) * self.load.think)
                if connection.closed or (lifetime is not None and 0 <= lifetime <= time.monotonic() - born):
                    return
        finally:
            self.account.connected -= 1
            await connection.close()

    async def transact(self, connection: "psycopg.AsyncConnection[tuple[int]]") -> None:
        began, inside = time.monotonic(), False
        try:
            async with connection.transaction():
                inside = True
                query = "INSERT INTO load (client, worker) VALUES (%s, %s) RETURNING id"
                cursor = await connection.execute(query, (self.number, self.load.worker))
                row = await cursor.fetchone()
                await connection.execute("SELECT client FROM load WHERE id = %s", row)
        except (psycopg.Error, OSError) as error:
            self.account.failed += 1
            self.account.in_transaction += inside
            self.account.blame(error)
        else:
            self.account.committed += 1
            self.account.seconds.append(time.monotonic() - began)


async def drive(load: Load) -> Account:
    account, gate = Account(), asyncio.Semaphore(CONNECTING_AT_ONCE)
    until = time.monotonic() + load.seconds
    clients = [asyncio.ensure_future(Client(n, load, account, gate).run(until)) for n in range(load.clients)]
    everyone = asyncio.gather(*clients)
    while not everyone.done():
        await asyncio.wait({everyone}, timeout=1.0)
        print(account.line(done=False), flush=True)
    await everyone
    print(account.line(done=True), flush=True)
    return account


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--reconnecting", type=int, default=0, help="of the clients: connect for each transaction")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--think", type=float, default=0.5, help="mean seconds between two transactions of a client")
    parser.add_argument(
        "--lifetime", type=float, default=-1, help="seconds after which a client connects anew; -1 never"
    )
    parser.add_argument("--worker", type=int, default=0, help="a number that marks this process's rows")
    parser.add_argument("--hold", action="store_true", help="a refused client gives up")
    parser.add_argument("--prepare", action="store_true", help="only make the table")
    given = parser.parse_args()
    url = os.environ["DATABASE_URL"]
    if given.prepare:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(TABLE)
        return 0
    load = Load(
        url,
        given.clients,
        given.reconnecting,
        given.seconds,
        given.think,
        given.lifetime,
        given.worker,
        given.hold,
    )
    account = asyncio.run(drive(load))
    return 1 if account.failed or account.refused else 0


if __name__ == "__main__":
    sys.exit(main())
