"""Clients of asyncpg with its default settings: prepared statements, a connection for some transactions, then another.

    python3 -m load.drivers --clients 3 --transactions 20      the URL comes from DATABASE_URL

It prints what load.clients prints, and ends at SIGTERM in the same way.
"""

import argparse
import asyncio
import os
import random
import secrets
import signal
import sys
import time

import asyncpg
from load.account import Account

CONNECT_SECONDS = 60
INSERT = "INSERT INTO load (run, client, number) VALUES ($1, $2, $3)"
READ = "SELECT count(*) FROM load WHERE (run, client, number) = ($1, $2, $3)"
WORK = "SELECT pg_sleep($1)"


async def client(number: int, given: argparse.Namespace, account: Account, over: asyncio.Event) -> None:
    """Connect, commit some transactions, and so on until the end."""
    while not over.is_set():
        try:
            connection = await asyncpg.connect(os.environ["DATABASE_URL"], timeout=CONNECT_SECONDS)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            account.refused += 1
            account.blame("connect", error)
            await asyncio.sleep(0.2)
            continue
        account.opened()
        try:
            await use(connection, number, given, account)
        finally:
            account.connected -= 1
            connection.terminate()


async def use(connection: asyncpg.Connection, number: int, given: argparse.Namespace, account: Account) -> None:
    """The transactions of one connection."""
    for _ in range(given.transactions):
        account.attempts[number] += 1
        key = (account.run, number, account.attempts[number])
        began, stage = time.monotonic(), "begin"
        try:
            async with connection.transaction():
                stage = "inside"
                await connection.execute(INSERT, *key)
                await connection.execute(WORK, given.work)
                await connection.fetchval(READ, *key)
                stage = "commit"
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            account.blame(stage, error)
            account.ended(number, began, good=False)
            return
        account.ended(number, began, good=True)
        await asyncio.sleep(random.uniform(0.5, 1.5) * given.think)


async def drive(given: argparse.Namespace) -> None:
    account, over = Account(secrets.token_hex(4)), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    everyone = asyncio.gather(*(client(number, given, account, over) for number in range(given.clients)))
    while not everyone.done():
        await asyncio.wait({everyone}, timeout=1.0)
        print(account.line(done=False), flush=True)
    await everyone
    print(account.line(done=True), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--transactions", type=int, default=10, help="of one connection")
    parser.add_argument("--think", type=float, default=0.2, help="mean seconds between two transactions of a client")
    parser.add_argument("--work", type=float, default=0.1, help="seconds of work in the server in each transaction")
    asyncio.run(drive(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
