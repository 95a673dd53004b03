"""Clients that run a long statement and die in the middle of it, once for each line on standard input.

    python3 -m load.abandon --clients 25 --seconds 60      the URL comes from DATABASE_URL

All clients are one process. At each line it is killed, which closes all their sockets, and as many others come at once.
On standard output a line of JSON for each death, {"deaths": 1}, and one for each error that a client sees: it then
comes again. The end of standard input ends all.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import sys

import psycopg

PAUSE = 0.2


def say(**told: object) -> None:
    print(json.dumps(told), flush=True)


async def sleep(url: str, seconds: float) -> None:
    """One client: it runs its statement, and comes again when it could not."""
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=60) as connection:
                await connection.execute("SELECT pg_sleep(%s)", (seconds,))
        except (psycopg.Error, OSError) as error:
            say(error=" ".join(str(error).split())[-160:])
            await asyncio.sleep(PAUSE)


async def everybody(url: str, clients: int, seconds: float) -> None:
    await asyncio.gather(*(sleep(url, seconds) for _ in range(clients)))


def generation(url: str, clients: int, seconds: float) -> None:
    asyncio.run(everybody(url, clients, seconds))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=60, help="of each client's statement")
    given = parser.parse_args()
    about = (os.environ["DATABASE_URL"], given.clients, given.seconds)
    forking = multiprocessing.get_context("fork")  # the next come within milliseconds

    def come() -> "multiprocessing.process.BaseProcess":
        process = forking.Process(target=generation, args=about, daemon=True)
        process.start()
        return process

    living = come()
    for deaths, _ in enumerate(sys.stdin, start=1):
        living.kill()
        living.join()
        living = come()
        say(deaths=deaths)
    living.kill()
    living.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
