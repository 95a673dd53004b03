"""psycopg 2 with a connection for each thread, as it has no pool that waits."""

import io
import threading
from contextlib import contextmanager

import psycopg2
from protocol import CLIENT, URL, Statements, run


class Client(Statements):
    def __init__(self) -> None:
        self._own, self._all = threading.local(), []
        super().__init__(self._once)

    def _connection(self):
        found = getattr(self._own, "connection", None)
        if found is None or found.closed:
            found = self._own.connection = psycopg2.connect(URL)
            self._all.append(found)
        return found

    def _once(self, query, *values):
        with self.transaction() as t:
            return t._value(query, *values)

    @contextmanager
    def transaction(self):
        connection = self._connection()
        with connection, connection.cursor() as cursor:
            yield Statements(lambda *statement: _value(cursor, *statement))

    def copy(self):
        with self._connection() as connection, connection.cursor() as cursor:
            lines = io.StringIO("".join(f"{CLIENT}\tcopy\t{each}\n" for each in range(50)))
            cursor.copy_expert("copy witness (client, step, n) from stdin", lines)
            out = io.StringIO()
            mine = f"copy (select n from witness where client = '{CLIENT}' and step = 'copy') to stdout"
            cursor.copy_expert(mine, out)
            assert len(out.getvalue().splitlines()) == 50

    def cursor(self):
        with self._connection() as connection, connection.cursor(name="numbers") as cursor:
            cursor.itersize = 10
            cursor.execute("select n from number where n <= 50 order by n")
            assert [row[0] for row in cursor] == [*range(1, 51)]

    def close(self):
        for each in self._all:
            each.close()


def _value(cursor, query, *values):
    cursor.execute(query, values)
    return cursor.fetchone()[0] if cursor.description else None


run(Client)
