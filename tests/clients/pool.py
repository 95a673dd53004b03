"""A pool without Kubernetes: its pods' processes behind one address, as behind its Service, and a roll of one pod."""

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import psycopg
import yaml
from tests.process import agentpod
from tests.process.agentpod import Pod, eventually
from tests.process.gate import Gate
from tests.process.servers import Postgres

from pgbouncer_operator.protocol.intent import Intent
from pgbouncer_operator.reconcile.specification import read
from pgbouncer_operator.resources.configuration import intent
from pgbouncer_operator.resources.desired import room

PASSWORD = "s3cret-of-shop"
PODS = 2
GRANT = 2  # of a pod: a third pod in a roll has its part of the pool's 6
# A pool drains for two minutes by default, as long as any client stays.
DRAIN = ("--endpoint-delay", "0.5", "--timeout", "5", "--transaction", "10")
TABLES = """
create table number (n int primary key, twice int not null);
insert into number select each, 2 * each from generate_series(1, 1000) each;
create table witness (id bigserial primary key, client text not null, step text not null, n int not null);
grant select on number to shop; grant select, insert on witness to shop;
grant usage on sequence witness_id_seq to shop;
"""


class Pool:
    """Two pods of `pool.yaml` behind one port."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres
        postgres.role("shop", PASSWORD)
        postgres.sql("create database shop owner shop")
        postgres.sql(TABLES, dbname="shop")
        self._pods: list[Pod] = []
        self._stack = contextlib.ExitStack()
        self._lives: dict[str, contextlib.ExitStack] = {}

    def __enter__(self) -> "Pool":
        for _ in range(PODS):
            self._pods.append(self._start())
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        login = {"host": "127.0.0.1", "port": self.postgres.port, "user": "postgres", "dbname": "shop"}
        self._observer = self._stack.enter_context(psycopg.connect(**login, autocommit=True))
        self._gate = self._stack.enter_context(Gate(listener, *(each.port for each in self._pods)))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for each in self._lives.values():
            each.close()

    @property
    def url(self) -> str:
        return f"postgresql://shop:{PASSWORD}@127.0.0.1:{self._gate.port}/shop"

    def witnesses(self, client: str, step: str) -> int:
        """Lines that PostgreSQL has of this client."""
        row = self._observer.execute(
            "select count(*) from witness where client = %s and step = %s", (client, step)
        ).fetchone()
        return int(row[0]) if row else 0

    def roll(self, progress: Callable[[], int], ended: Callable[[], bool]) -> None:
        """Replace the older pod while clients work.

        progress: a count that grows as they do; it must grow after the roll, too. ended: they work no longer.
        """
        old, stays = self._pods
        new = self._start()
        before = progress()
        eventually("clients work before the roll", lambda: progress() >= before + 20 or ended(), seconds=90)
        self._gate.lead_to(stays.port, new.port)
        drain = old.script("drain", *DRAIN, "--run-dir", str(old.run), "--port", str(old.port))
        drain.wait(120)
        self._lives.pop(str(old.root)).close()
        self._pods = [stays, new]
        after = progress()
        eventually("clients work after the roll", lambda: progress() >= after + 20 or ended(), seconds=90)

    def _start(self) -> Pod:
        life = contextlib.ExitStack()
        pod = life.enter_context(agentpod.pod())
        self._lives[str(pod.root)] = life
        wanted = pod.mount_intent(self._intent())
        pod.mount_grant(GRANT)
        pod.mount_user("shop", {"username": "shop", "password": PASSWORD})
        pod.mount_pod()
        pod.start()
        pod.runs(wanted)
        eventually("the pod's own login works", lambda: pod.state()["backend"]["ok"], seconds=60)
        return pod

    def _intent(self) -> Intent:
        body = yaml.safe_load(Path(__file__).with_name("pool.yaml").read_text(encoding="utf-8"))
        body["metadata"]["uid"] = "00000000-0000-4000-8000-000000000001"
        body["spec"]["backend"]["port"] = self.postgres.port
        pool = read(body)
        return intent(pool, room(pool))
