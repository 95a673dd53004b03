"""The cases of cases.toml for clients in Python. A program hands `run` a function that makes its client.

The client does what it does by default, serves threads, and has:

    twice(n)             a query with a parameter: the double of n
    insert(step, n)      one row of `witness`
    transaction()        a context manager that gives t.twice, t.insert and t.pid; an exception rolls back
    prepared(n)          as twice, and how many prepared statements PostgreSQL has: (double, count)
    copy(), pipeline(), cursor()   for those that have them
    close()
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

CLIENT = os.environ["CLIENT"]
URL = os.environ["DATABASE_URL"]
LIFETIME = int(os.environ.get("LIFETIME", "0"))  # seconds of a connection, if it is set
TWICE = "select twice from number where n = %s"
INSERT = "insert into witness (client, step, n) values (%s, %s, %s)"
PID = "select pg_backend_pid()"
PREPARED = "select count(*) from pg_prepared_statements"
Make = Callable[[], Any]


class OnPurposeError(Exception):
    """What rolls a transaction back."""


class Statements:
    """twice, insert and pid of a client that takes SQL with %s: `value` gives the first value of a row, or None."""

    def __init__(self, value: Callable[..., Any]) -> None:
        self._value = value

    def twice(self, n: int) -> int:
        return int(self._value(TWICE, n))

    def insert(self, step: str, n: int) -> None:
        self._value(INSERT, CLIENT, step, n)

    def pid(self) -> int:
        return int(self._value(PID))


def run(make: Make) -> None:
    """Run the cases that the arguments name, print a line for each, and end the process."""
    client = None
    for step in sys.argv[1:]:
        try:
            if step in ("cold", "instances", "roll"):
                line = {"ok": True, **(globals()[f"_{step}"](make) or {})}
            else:
                client = client or make()
                globals()[f"_{step}"](client)
                line = {"ok": True}
        except Exception as error:
            line = {"ok": False, "error": words(error)}
        print(json.dumps({"case": step, **line}), flush=True)
    if client is not None:
        client.close()
    os._exit(0)


def words(error: BaseException) -> str:
    """The first line of what an exception says."""
    cause = getattr(error, "orig", None) or error
    if cause.args and isinstance(cause.args[0], dict):  # pg8000: PostgreSQL's fields by their letters
        return str(cause.args[0]["M"])
    return (str(cause).strip().splitlines() or [repr(cause)])[0]


def _defaults(client: Any) -> None:
    def work(worker: int) -> None:
        for n in range(worker * 25 + 1, worker * 25 + 26):
            assert client.twice(n) == 2 * n

    _workers(8, work)


def _prepared(client: Any) -> None:
    def work(worker: int) -> int:
        found = [client.prepared(worker + each + 1) for each in range(10)]
        assert [each[0] for each in found] == [2 * (worker + each + 1) for each in range(10)]
        return max(each[1] for each in found)

    assert max(_workers(8, work)) > 0, "PostgreSQL has no prepared statement"


def _transaction(client: Any) -> None:
    def work(worker: int) -> None:
        with client.transaction() as t:
            t.insert("transaction", worker)
            t.insert("transaction", worker)

    _workers(8, work)


def _rollback(client: Any) -> None:
    def work(worker: int) -> None:
        try:
            with client.transaction() as t:
                t.insert("rollback", worker)
                raise OnPurposeError
        except OnPurposeError:
            assert client.twice(worker + 1) == 2 * (worker + 1)

    _workers(8, work)


def _interactive(client: Any) -> None:
    def work(worker: int) -> None:
        with client.transaction() as t:
            pid, value = t.pid(), t.twice(worker + 1)
            threading.Event().wait(0.02)
            t.insert("interactive", value)
            assert t.pid() == pid

    _workers(4, work)


def _instances(make: Make) -> None:
    def work(_: int) -> None:
        for each in range(10):
            client = make()
            try:
                client.insert("instances", each)
            finally:
                client.close()

    _workers(10, work)


def _cold(make: Make) -> None:
    make().insert("cold", 1)


def _roll(make: Make) -> dict[str, Any]:
    client, going, figures, lock = make(), threading.Event(), {"done": 0, "failed": 0, "error": ""}, threading.Lock()
    threading.Thread(target=lambda: (sys.stdin.read(), going.set()), daemon=True).start()

    def work(worker: int) -> None:
        while not going.wait(0.04):
            try:
                with client.transaction() as t:
                    t.insert("roll", worker)
                with lock:
                    figures["done"] += 1
            except Exception as error:
                with lock:
                    figures["failed"] += 1
                    figures["error"] = words(error)

    _workers(4, work)
    client.close()
    return figures


def _copy(client: Any) -> None:
    client.copy()


def _pipeline(client: Any) -> None:
    client.pipeline()


def _cursor(client: Any) -> None:
    _workers(8, lambda _: client.cursor())


def _workers(count: int, work: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as executor:
        return list(executor.map(work, range(count)))
