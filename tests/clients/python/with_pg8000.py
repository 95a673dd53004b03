"""pg8000, a connection for each thread, as it has no pool.

INTERFACE: dbapi (default); native, where each statement is a transaction; wrapped, which is native between begin and
commit.
"""

import os
import threading
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import pg8000.dbapi
import pg8000.exceptions
import pg8000.native
from protocol import PREPARED, TWICE, URL, Statements, run

PARTS = urlsplit(URL)
LOGIN = {
    "user": PARTS.username,
    "password": PARTS.password,
    "host": PARTS.hostname,
    "port": PARTS.port,
    "database": PARTS.path[1:],
}
INTERFACE = os.environ.get("INTERFACE", "dbapi")
NATIVE = INTERFACE != "dbapi"


class Client(Statements):
    def __init__(self) -> None:
        self._own, self._all = threading.local(), []
        super().__init__(self._once)

    def _connection(self):
        found = getattr(self._own, "connection", None)
        if found is None:
            found = pg8000.native.Connection(**LOGIN) if NATIVE else pg8000.dbapi.connect(**LOGIN)
            self._own.connection = found
            self._all.append(found)
        return found

    def _once(self, query, *values):
        if INTERFACE == "native":
            return _native(self._connection(), query, *values)
        with self.transaction() as t:
            return t._value(query, *values)

    @contextmanager
    def transaction(self):
        connection = self._connection()
        execute = _native if NATIVE else _dbapi
        try:
            if NATIVE:
                connection.run("begin")
            yield Statements(lambda *statement: execute(connection, *statement))
            connection.run("commit") if NATIVE else connection.commit()
        except pg8000.exceptions.InterfaceError:
            self._own.connection = None  # it is closed: the next call makes another
            raise
        except BaseException:
            connection.run("rollback") if NATIVE else connection.rollback()
            raise

    def prepared(self, n):
        connection = self._connection()
        statement = connection.prepare(TWICE.replace("%s", ":n"))
        try:
            return statement.run(n=n)[0][0], connection.run(PREPARED)[0][0]
        finally:
            statement.close()

    def close(self):
        for each in self._all:
            with suppress(pg8000.exceptions.InterfaceError):  # closed already
                each.close()


def _dbapi(connection, query, *values):
    cursor = connection.cursor()
    cursor.execute(query, values)
    return cursor.fetchone()[0] if cursor.description else None


def _native(connection, query, *values):
    for index in range(len(values)):
        query = query.replace("%s", f":v{index}", 1)
    rows = connection.run(query, **{f"v{index}": value for index, value in enumerate(values)})
    return rows[0][0] if rows else None


run(Client)
