"""asyncpg with its own pool, on an event loop in a thread beside."""

import asyncio
import threading
from contextlib import contextmanager

import asyncpg
from protocol import CLIENT, LIFETIME, PREPARED, TWICE, URL, Statements, run

LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()


def wait(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, LOOP).result(30)


def numbered(query):
    """%s as $1, $2 and so on."""
    parts = query.split("%s")
    return "".join(f"{part}${index + 1}" for index, part in enumerate(parts[:-1])) + parts[-1]


class Client(Statements):
    def __init__(self) -> None:
        lifetime = {"max_inactive_connection_lifetime": LIFETIME} if LIFETIME else {}
        self._pool = wait(self._open(lifetime))
        super().__init__(lambda query, *values: wait(self._pool.fetchval(numbered(query), *values)))

    async def _open(self, lifetime):
        return await asyncpg.create_pool(URL, **lifetime)

    @contextmanager
    def transaction(self):
        connection = wait(self._acquire())
        try:
            with _transaction(connection):
                yield Statements(lambda query, *values: wait(connection.fetchval(numbered(query), *values)))
        finally:
            wait(self._release(connection))

    async def _acquire(self):
        return await self._pool.acquire()

    async def _release(self, connection):
        await self._pool.release(connection)

    def prepared(self, n):
        async def both():
            async with self._pool.acquire() as connection:
                statement = await connection.prepare(numbered(TWICE))
                return await statement.fetchval(n), await connection.fetchval(PREPARED)

        return wait(both())

    def copy(self):
        async def both():
            async with self._pool.acquire() as connection:
                rows = [(CLIENT, "copy", each) for each in range(50)]
                await connection.copy_records_to_table("witness", records=rows, columns=("client", "step", "n"))
                lines = []

                async def keep(data):
                    lines.append(data)

                mine = "select n from witness where client = $1 and step = 'copy'"
                await connection.copy_from_query(mine, CLIENT, output=keep)
                assert len(b"".join(lines).splitlines()) == 50

        wait(both())

    def cursor(self):
        async def read():
            async with self._pool.acquire() as connection, connection.transaction():
                query = "select n from number where n <= 50 order by n"
                return [row[0] async for row in connection.cursor(query, prefetch=10)]

        assert wait(read()) == [*range(1, 51)]

    def close(self):
        wait(self._pool.close())


@contextmanager
def _transaction(connection):
    async def begin():
        transaction = connection.transaction()
        await transaction.start()
        return transaction

    transaction = wait(begin())
    try:
        yield
    except BaseException:
        wait(transaction.rollback())
        raise
    wait(transaction.commit())


run(Client)
