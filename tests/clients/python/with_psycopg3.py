"""psycopg 3 with psycopg_pool."""

from contextlib import contextmanager

from protocol import CLIENT, INSERT, LIFETIME, PREPARED, TWICE, URL, Statements, run
from psycopg_pool import ConnectionPool


class Client(Statements):
    def __init__(self) -> None:
        self._pool = ConnectionPool(URL, open=True, **({"max_lifetime": LIFETIME} if LIFETIME else {}))
        super().__init__(self._once)

    def _once(self, query, *values):
        with self._pool.connection() as connection:
            return _value(connection, query, *values)

    @contextmanager
    def transaction(self):
        with self._pool.connection() as connection, connection.transaction():
            yield Statements(lambda *statement: _value(connection, *statement))

    def prepared(self, n):
        with self._pool.connection() as connection:
            double = connection.execute(TWICE, (n,), prepare=True).fetchone()[0]
            return double, connection.execute(PREPARED).fetchone()[0]

    def copy(self):
        with self._pool.connection() as connection:
            with connection.cursor().copy("copy witness (client, step, n) from stdin") as copy:
                for each in range(50):
                    copy.write_row((CLIENT, "copy", each))
            mine = f"copy (select n from witness where client = '{CLIENT}' and step = 'copy') to stdout"
            with connection.cursor().copy(mine) as copy:
                assert len(list(copy.rows())) == 50

    def pipeline(self):
        with self._pool.connection() as connection, connection.pipeline():
            for each in range(20):
                connection.execute(INSERT, (CLIENT, "pipeline", each))

    def cursor(self):
        with self._pool.connection() as connection, connection.cursor(name="numbers") as cursor:
            cursor.itersize = 10
            assert [row[0] for row in cursor.execute("select n from number where n <= 50 order by n")] == [
                *range(1, 51)
            ]

    def close(self):
        self._pool.close()


def _value(connection, query, *values):
    cursor = connection.execute(query, values)
    return cursor.fetchone()[0] if cursor.description else None


run(Client)
