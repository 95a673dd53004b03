"""Load on a pod's PgBouncer, and PostgreSQL's own count of the sessions it causes."""

import threading
import time

import psycopg
from tests.process.agentcase import PASSWORD
from tests.process.agentpod import Pod
from tests.process.servers import Postgres


class Load:
    """Clients that run short transactions one after the other, each with a connection of its own.

    longest: seconds that the longest of them took, the wait for a server connection included.
    """

    def __init__(
        self,
        pod: Pod,
        clients: int,
        database: str = "shop",
        work: str = "begin; select pg_sleep(0.02); commit",
        login: tuple[str, str] = ("shop", PASSWORD),
    ) -> None:
        self.done, self.longest = 0, 0.0
        self.failures: list[str] = []
        self._pod, self._database, self._work, self._login = pod, database, work, login
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self) -> None:
        try:
            with self._pod.connect(self._database, *self._login, prepare_threshold=None) as client:
                while not self._stop.is_set():
                    began = time.monotonic()
                    client.execute(self._work)  # type: ignore[arg-type]
                    self.done, self.longest = self.done + 1, max(self.longest, time.monotonic() - began)
        except psycopg.Error as error:
            self.failures.append(str(error))


class Comers:
    """Clients that come, run one transaction and leave. longest: seconds that one of them was kept, served or not."""

    def __init__(self, pod: Pod, number: int) -> None:
        self.longest, self.served = 0.0, 0
        self.failures: list[str] = []
        self._pod = pod
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(number)]

    def __enter__(self) -> "Comers":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in self._threads:
            each.join(60)

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                with self._pod.connect("shop", "shop", PASSWORD) as client:
                    client.execute("select 1")
                self.served += 1
            except psycopg.Error as error:
                self.failures.append(str(error))
            self.longest = max(self.longest, time.monotonic() - began)


class Census:
    """Counts the role's backends again and again, as PostgreSQL shows them; `most` is the highest count."""

    def __init__(self, postgres: Postgres) -> None:
        self.most = 0
        self._postgres = postgres
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Census":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        with psycopg.connect(
            host="127.0.0.1", port=self._postgres.port, user="postgres", autocommit=True
        ) as connection:
            while not self._stop.is_set():
                row = connection.execute("select count(*) from pg_stat_activity where usename = 'shop'").fetchone()
                self.most = max(self.most, row[0] if row else 0)
