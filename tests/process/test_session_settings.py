"""Which settings of a session follow a client in transaction mode, when all clients share one server connection."""

from typing import Any

import psycopg
import pytest
from tests.process.agentcase import PASSWORD, intent
from tests.process.agentpod import Pod
from tests.process.marks import PROCESS
from tests.process.servers import Postgres

pytestmark = PROCESS
# What PostgreSQL 18 reports and PgBouncer 1.26.1 keeps for each client by itself.
FOLLOW = {
    "application_name": "billing",
    "client_encoding": "LATIN1",
    "DateStyle": "German, DMY",
    "IntervalStyle": "iso_8601",
    "search_path": "pg_catalog",
    "standard_conforming_strings": "off",
    "TimeZone": "Asia/Tokyo",
}
# PostgreSQL does not report these, so PgBouncer cannot know them, whatever it is asked.
STAY = {"statement_timeout": "9s", "lock_timeout": "9s", "work_mem": "9MB"}


@pytest.fixture
def asked(pod: Pod, postgres: Postgres) -> Pod:
    """A pod that is asked to keep more."""
    pod.mount_intent(intent(postgres, track_extra_parameters=", ".join(["IntervalStyle", *STAY])))
    pod.mount_grant(1)
    pod.start()
    assert pod.intent is not None
    pod.runs(pod.intent)
    return pod


@pytest.fixture
def plain(pod: Pod, postgres: Postgres) -> Pod:
    pod.mount_grant(1)
    pod.start()
    pod.runs(intent(postgres))
    return pod


def followed(pod: Pod, settings: dict[str, str]) -> set[str]:
    """The settings that are the first client's alone, after a second one has used the same server connection."""
    own = set()
    for name, value in settings.items():
        with pod.connect("shop", "shop", PASSWORD) as first, pod.connect("shop", "shop", PASSWORD) as second:
            before = shown(second, name)
            first.execute(f"set {name} = '{value}'")  # type: ignore[arg-type]
            others = shown(second, name)
            if (shown(first, name), others) == (value, before):
                own.add(name)
            first.execute(f"reset {name}")  # type: ignore[arg-type]
            second.execute(f"reset {name}")  # type: ignore[arg-type]
    return own


def shown(client: psycopg.Connection[tuple[Any, ...]], name: str) -> str:
    row = client.execute(f"show {name}").fetchone()  # type: ignore[arg-type]
    return str(row[0]) if row else ""


def test_what_postgresql_reports_follows_the_client(plain: Pod) -> None:
    assert followed(plain, FOLLOW | STAY) == set(FOLLOW)


def test_what_postgresql_does_not_report_follows_nobody_even_if_pgbouncer_is_asked_to(asked: Pod) -> None:
    assert not followed(asked, STAY)


def test_a_transaction_keeps_its_own_settings_to_itself(plain: Pod) -> None:
    with plain.connect("shop", "shop", PASSWORD) as first, plain.connect("shop", "shop", PASSWORD) as second:
        first.execute("begin; set local statement_timeout = '9s'; select 1; commit")
        assert shown(second, "statement_timeout") == "0"
