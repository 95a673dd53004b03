"""Many clients of one database, each a real connection of psycopg, and an account of every transaction.

    python3 -m load.clients --clients 1000 --reconnecting 100 --seconds 20      the URL comes from DATABASE_URL

A line of JSON a second on standard output, and a last one with "done": true, at the end or after SIGTERM, which lets
transactions finish. A transaction is one insert and one read between BEGIN and COMMIT; it failed when the client saw
any error. Each row carries the run, the client and the number of its transaction, so that what was told to be committed
can be counted. Kinds of clients: --reconnecting ones connect for each transaction, --lifetime lets the others connect
anew after so many seconds as a client-side pool does, and without it they keep their connection for ever.
"""

import argparse
import asyncio
import os
import random
import secrets
import signal
import sys
import time
from dataclasses import dataclass

import psycopg
from load.account import Account
from psycopg import sql

CONNECT_SECONDS = 60
CONNECTING_AT_ONCE = 40
TABLE = """
SELECT pg_advisory_xact_lock(4711);
CREATE TABLE IF NOT EXISTS load (
    run text NOT NULL, client int NOT NULL, number bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, client, number)
);
CREATE INDEX IF NOT EXISTS load_at ON load (at);
"""
INSERT = "INSERT INTO load (run, client, number) VALUES (%s, %s, %s)"
READ = "SELECT count(*) FROM load WHERE (run, client, number) = (%s, %s, %s)"
Connection = psycopg.AsyncConnection[tuple[int]]


@dataclass(frozen=True, slots=True)
class Load:
    """What to do: see the arguments."""

    url: str
    clients: int
    reconnecting: int
    seconds: float
    think: float
    work: float
    lifetime: float
    statements: bool
    hold: bool
    work_by: str


class Client:
    """One client: connects, commits, thinks, and so on until the end."""

    def __init__(self, number: int, load: Load, account: Account, gate: asyncio.Semaphore) -> None:
        self.number = number
        self.load = load
        self.account = account
        self.gate = gate
        self.stage = "connect"

    async def run(self, over: asyncio.Event) -> None:
        while not over.is_set():
            connection = await self.connect()
            if connection is None:
                if self.load.hold:
                    return
                await asyncio.sleep(0.2)
                continue
            await self.use(connection, over)

    async def connect(self) -> Connection | None:
        try:
            async with self.gate:
                return await psycopg.AsyncConnection.connect(
                    self.load.url, autocommit=True, connect_timeout=CONNECT_SECONDS
                )
        except (psycopg.Error, OSError) as error:
            self.account.refused += 1
            self.account.blame("connect", error)
            return None

    async def use(self, connection: Connection, over: asyncio.Event) -> None:
        self.account.opened()
        lifetime = 0.0 if self.number < self.load.reconnecting else self.load.lifetime
        # Clients of a pool do not all leave in the same moment.
        until = float("inf") if lifetime < 0 else time.monotonic() + lifetime * random.uniform(0.5, 1.0)
        try:
            while not over.is_set():
                if not await self.attempt(connection):
                    return
                await asyncio.sleep(random.uniform(0.5, 1.5) * self.load.think)
                if time.monotonic() >= until:
                    return
        finally:
            self.account.connected -= 1
            await connection.close()

    async def attempt(self, connection: Connection) -> bool:
        """One transaction; whether the connection may be used further."""
        self.account.attempts[self.number] += 1
        began, self.stage = time.monotonic(), "begin"
        try:
            await (self.state if self.load.statements else self.transact)(connection)
        except (psycopg.Error, OSError) as error:
            self.account.blame(self.stage, error)
            self.account.closed[self.number] += connection.closed
            self.account.ended(self.number, began, good=False)
            return False
        self.account.ended(self.number, began, good=True)
        return True

    async def transact(self, connection: Connection) -> None:
        key = (self.account.run, self.number, self.account.attempts[self.number])
        await connection.execute("BEGIN", prepare=False)
        self.stage = "inside"
        await connection.execute(INSERT, key)
        if self.load.work:
            function = sql.Identifier(self.load.work_by)
            await connection.execute(sql.SQL("SELECT {}(%s)").format(function), (self.load.work,))
        await connection.execute(READ, key)
        self.stage = "commit"
        await connection.execute("COMMIT", prepare=False)

    async def state(self, connection: Connection) -> None:
        await connection.execute(INSERT, (self.account.run, self.number, self.account.attempts[self.number]))


async def drive(load: Load) -> Account:
    account, gate, over = Account(secrets.token_hex(4)), asyncio.Semaphore(CONNECTING_AT_ONCE), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    asyncio.get_running_loop().call_later(load.seconds, over.set)
    clients = [asyncio.ensure_future(Client(n, load, account, gate).run(over)) for n in range(load.clients)]
    everyone = asyncio.gather(*clients)
    while not everyone.done():
        await asyncio.wait({everyone}, timeout=1.0)
        print(account.line(done=False), flush=True)
    await everyone
    print(account.line(done=True), flush=True)
    return account


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--reconnecting", type=int, default=0, help="of the clients: connect for each transaction")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--think", type=float, default=0.5, help="mean seconds between two transactions of a client")
    parser.add_argument("--work", type=float, default=0, help="seconds of work in the server in each transaction")
    parser.add_argument("--work-by", default="pg_sleep", help="function in the server that takes those seconds")
    parser.add_argument(
        "--lifetime", type=float, default=-1, help="seconds after which a client connects anew; -1 never"
    )
    parser.add_argument("--statements", action="store_true", help="single statements: no BEGIN, no read")
    parser.add_argument("--hold", action="store_true", help="a refused client gives up")
    parser.add_argument("--prepare", action="store_true", help="only make the table")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    url = os.environ["DATABASE_URL"]
    if given.prepare:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(TABLE, prepare=False)
        return 0
    load = Load(
        url=url,
        clients=given.clients,
        reconnecting=given.reconnecting,
        seconds=given.seconds,
        think=given.think,
        work=given.work,
        lifetime=given.lifetime,
        statements=given.statements,
        hold=given.hold,
        work_by=given.work_by,
    )
    account = asyncio.run(drive(load))
    return 1 if account.failed or account.refused else 0


if __name__ == "__main__":
    sys.exit(main())
