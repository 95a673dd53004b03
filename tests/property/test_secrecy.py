"""Any login and password comes through whole, and goes nowhere but into Secrets."""

import base64
import json
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from tests.property.cluster_model import Cluster
from tests.property.test_plan import pool

from pgbouncer_operator.reconcile.observed import Credentials, Observed
from pgbouncer_operator.reconcile.pool.plan import plan
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.resources.login import Login

FIXED = settings(derandomize=True, database=None, deadline=None, max_examples=150)
# What a user's Secret may hold: any text without control characters.
TEXT = st.text(
    st.characters(min_codepoint=0x20, exclude_characters="\x7f", exclude_categories=["Cs", "Cc"]), min_size=1
)
PLATFORM = Platform("pool:1", "IfNotPresent", 5)


def look(login: str, password: str) -> Observed:
    observed = Cluster(pool()).look()
    return replace(observed, credentials=Credentials({"shop": Login(login, password)}, "v1"), secrets={})


def decoded(observed: Observed) -> list[dict[str, str]]:
    bodies = [step.body for step in plan(observed, PLATFORM).steps if step.key[0] == "Secret"]
    return [{key: base64.b64decode(value).decode() for key, value in body["data"].items()} for body in bodies]


@FIXED
@given(TEXT, TEXT)
def test_libpq_and_jdbc_read_back_every_login_and_password(login: str, password: str) -> None:
    secrets = decoded(look(login, password))
    assert len(secrets) == 2
    for values in secrets:
        read = conninfo_to_dict(values["uri"])
        assert (read["user"], read["password"]) == (login, password)
        query = parse_qs(urlsplit(values["jdbc-uri"]).query, strict_parsing=True)
        assert (query["user"], query["password"]) == ([login], [password])
        assert (values["PGUSER"], values["PGPASSWORD"]) == (login, password)


@FIXED
@given(TEXT.filter(lambda text: len(text) > 8))
def test_a_password_stands_in_no_other_object_no_status_no_event_and_no_printed_plan(password: str) -> None:
    canary = f"c4n4ry{password}"
    found = plan(look("app", canary), PLATFORM)
    others = [step.body for step in found.steps if step.key[0] != "Secret"]
    said = [json.dumps(others, ensure_ascii=False), repr(found), *map(str, found.steps), repr(found.announcements)]
    encoded = base64.b64encode(canary.encode()).decode()
    assert not [text for text in said if "c4n4ry" in text or encoded in text]
