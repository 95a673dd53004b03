"""SQLAlchemy 2. DRIVER: psycopg (default), psycopg2 or pg8000."""

import os
from contextlib import contextmanager

from protocol import CLIENT, LIFETIME, URL, run
from sqlalchemy import MetaData, Table, create_engine, insert, select, text

DRIVER = os.environ.get("DRIVER", "psycopg")
TABLES = MetaData()


class Statements:
    def __init__(self, connection) -> None:
        self._connection = connection

    def twice(self, n):
        number = TABLES.tables["number"]
        return self._connection.scalar(select(number.c.twice).where(number.c.n == n))

    def insert(self, step, n):
        self._connection.execute(insert(TABLES.tables["witness"]).values(client=CLIENT, step=step, n=n))

    def pid(self):
        return self._connection.scalar(text("select pg_backend_pid()"))


class Client:
    def __init__(self) -> None:
        lifetime = {"pool_recycle": LIFETIME, "pool_pre_ping": True} if LIFETIME else {}
        self._engine = create_engine(URL.replace("postgresql://", f"postgresql+{DRIVER}://"), **lifetime)
        for name in ("number", "witness"):
            if name not in TABLES.tables:
                Table(name, TABLES, autoload_with=self._engine)

    @contextmanager
    def transaction(self):
        with self._engine.begin() as connection:
            yield Statements(connection)

    def twice(self, n):
        with self.transaction() as t:
            return t.twice(n)

    def insert(self, step, n):
        with self.transaction() as t:
            t.insert(step, n)

    def cursor(self):
        number = TABLES.tables["number"]
        with self._engine.connect() as connection:
            options = {"stream_results": True, "max_row_buffer": 10}
            rows = connection.execution_options(**options).execute(select(number.c.n).where(number.c.n <= 50))
            assert len(rows.all()) == 50

    def close(self):
        self._engine.dispose()


run(Client)
