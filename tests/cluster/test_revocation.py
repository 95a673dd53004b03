"""Who may log in no more is refused by every pod: another login, another password, an account that ran out."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from tests.cluster import console
from tests.cluster.console import Followed
from tests.cluster.pools import USER, Namespace, pool
from tests.cluster.server import sql
from tests.localcluster.deploy import REPOSITORY

POOL = "revoking"
PODS, MOST = 3, 12
ROLES = """
CREATE ROLE guest LOGIN PASSWORD 'guest-0';
CREATE ROLE heir LOGIN PASSWORD 'heir-0';
GRANT ALL ON DATABASE shop TO guest, heir;
"""
Say = Callable[[str], None]


@pytest.fixture(scope="module")
def ready(here: Namespace) -> Namespace:
    sql(here, ROLES)
    write(here, "guest", "guest-0")
    users = [USER, {"name": "guest", "secretRef": {"name": "guest-db"}}]
    here.apply(pool(POOL, MOST, replicas=PODS, users=users))
    here.wait_ready(POOL)
    return here


@pytest.fixture
def logins(ready: Namespace) -> Iterator[Followed]:
    listening = console.logins(ready, POOL)
    yield listening
    listening.stop()


def secret(here: Namespace, username: str, password: str) -> None:
    write(here, username, password)
    here.deliver(POOL)


def write(here: Namespace, username: str, password: str) -> None:
    body = {"stringData": {"username": username, "password": password}}
    here.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "guest-db"}, **body})


def accepted(logins: Followed, user: str, password: str) -> None:
    said = console.login(logins, accepted=True, user=user, password=password, dbname="shop")
    assert set(said.values()) == {""}, said


def refused(logins: Followed, user: str, password: str) -> float:
    """Wait until no pod lets that login in any more; when the last one refused (monotonic seconds)."""
    said = console.login(logins, accepted=False, user=user, password=password, dbname="shop")
    assert "" not in said.values(), said
    return max(logins.heard.values())


def test_a_password_that_was_rotated_is_refused_and_the_new_one_works(
    ready: Namespace, logins: Followed, say: Say
) -> None:
    accepted(logins, "guest", "guest-0")
    lives = ready.lives(POOL)
    sql(ready, "ALTER ROLE guest PASSWORD 'guest-1'")
    began = time.monotonic()
    secret(ready, "guest", "guest-1")
    seconds = refused(logins, "guest", "guest-0") - began
    accepted(logins, "guest", "guest-1")
    say(f"rotated password: the old one refused by {PODS} pods {seconds:.2f} s after its Secret changed")
    assert ready.lives(POOL) == lives


def test_a_login_that_was_replaced_is_refused(ready: Namespace, logins: Followed, say: Say) -> None:
    accepted(logins, "guest", "guest-1")
    began = time.monotonic()
    secret(ready, "heir", "heir-0")
    seconds = refused(logins, "guest", "guest-1") - began
    accepted(logins, "heir", "heir-0")
    say(f"replaced login: the old one refused by {PODS} pods {seconds:.2f} s after its Secret changed")


def test_a_user_taken_from_the_pool_is_refused_before_and_after_the_roll(
    ready: Namespace, logins: Followed, say: Say
) -> None:
    accepted(logins, "heir", "heir-0")
    before, began = ready.lives(POOL), time.monotonic()
    ready.patch(POOL, users=[USER])
    seconds = refused(logins, "heir", "heir-0") - began
    ready.wait_ready(POOL)
    assert not before.keys() & ready.lives(POOL).keys(), "Ready means: every pod is of the present spec"
    say(f"user taken away: refused by {PODS} pods {seconds:.2f} s after kubectl patch began")
    again = console.logins(ready, POOL)
    try:
        refused(again, "heir", "heir-0")
    finally:
        again.stop()


LOOKUP = "lookup"
OTHERS = """
CREATE ROLE wanderer LOGIN PASSWORD 'wanderer-0';
CREATE ROLE chief SUPERUSER LOGIN PASSWORD 'chief-0';
GRANT ALL ON DATABASE shop TO wanderer;
"""


@pytest.fixture(scope="module")
def looking(here: Namespace) -> Namespace:
    """A pool that looks logins up, by the function that the command line prints."""
    program = [sys.executable, "-m", "pgbouncer_operator", "auth-query-sql"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "operator")}
    printed = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    role = re.findall(r'CREATE ROLE "?(\w+)', printed)[0]
    sql(here, printed)
    sql(here, OTHERS)
    sql(here, f"ALTER ROLE {role} PASSWORD 'lookup-0'")
    login = {"stringData": {"username": role, "password": "lookup-0"}}
    here.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "lookup-db"}, **login})
    query = {"secretRef": {"name": "lookup-db"}, "database": "shop"}
    here.apply(pool(LOOKUP, MOST, replicas=PODS, authQuery=query))
    here.wait_ready(LOOKUP)
    return here


@pytest.fixture
def visitors(looking: Namespace) -> Iterator[Followed]:
    listening = console.logins(looking, LOOKUP)
    yield listening
    listening.stop()


def test_a_login_that_is_looked_up_works_until_it_runs_out(looking: Namespace, visitors: Followed, say: Say) -> None:
    accepted(visitors, "wanderer", "wanderer-0")
    began = time.monotonic()
    sql(looking, "ALTER ROLE wanderer VALID UNTIL '2020-01-01'")
    seconds = refused(visitors, "wanderer", "wanderer-0") - began
    say(f"VALID UNTIL passed: refused by {PODS} pods {seconds:.2f} s after ALTER ROLE began")
    sql(looking, "ALTER ROLE wanderer VALID UNTIL 'infinity' PASSWORD 'wanderer-1'")
    accepted(visitors, "wanderer", "wanderer-1")
    refused(visitors, "wanderer", "wanderer-0")
    sql(looking, "ALTER ROLE wanderer NOLOGIN")
    refused(visitors, "wanderer", "wanderer-1")


def test_a_superuser_is_never_looked_up(visitors: Followed) -> None:
    refused(visitors, "chief", "chief-0")
