"""What one side writes of any document, the other side reads back whole; what it cannot read, it says so."""

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.pgbouncer_strategies import SETTINGS, TAME, databases

from pgbouncer_operator.protocol import traffic
from pgbouncer_operator.protocol.grants import MOST, Grant, Grants, GrantsError
from pgbouncer_operator.protocol.intent import (
    CLIENT_TLS_MODES,
    AuthQueryIntent,
    ClientTlsIntent,
    Intent,
    IntentError,
    ServerTls,
    UserIntent,
)
from pgbouncer_operator.protocol.reasons import BackendReason, Flow, Phase, ProblemReason, ReloadKind
from pgbouncer_operator.protocol.state import AgentProblem, AgentState, BackendTest, Reload, Totals, UserState
from pgbouncer_operator.protocol.validity import CertificateValidity

FIXED = settings(derandomize=True, database=None, deadline=None, max_examples=200)
COUNT = st.integers(0, 10**9)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FILE_NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
KEYS = st.none() | FILE_NAMES
HOSTS = st.sampled_from(["postgres", "pg.shop.svc", "::1"])
SERVER_TLS = st.builds(ServerTls, st.sampled_from(["disable", "require"])) | st.builds(
    ServerTls, st.sampled_from(["verify-ca", "verify-full"]), st.sampled_from(["system", "ca.crt"])
)
USERS = st.builds(UserIntent, TAME, FILE_NAMES, KEYS, FILE_NAMES, st.none() | st.integers(1, 50), KEYS)


@st.composite
def intents(draw: st.DrawFn) -> Intent:
    served = draw(st.lists(databases(TAME, HOSTS), min_size=1, max_size=4, unique_by=lambda each: each.name))
    lookups = st.builds(
        AuthQueryIntent,
        FILE_NAMES,
        st.sampled_from([each.name for each in served]),
        st.just("pgbouncer.lookup"),
        KEYS,
        FILE_NAMES,
    )
    return Intent(
        draw(TAME),
        draw(SETTINGS),
        tuple(served),
        tuple(draw(st.lists(USERS, max_size=4, unique_by=(lambda each: each.name, lambda each: each.mount)))),
        draw(SERVER_TLS),
        draw(st.none() | st.builds(ClientTlsIntent, st.sampled_from(CLIENT_TLS_MODES))),
        draw(st.none() | lookups),
        draw(st.none() | COUNT),
    )


CAP = st.integers(0, MOST)


@st.composite
def grants(draw: st.DrawFn) -> Grants:
    pods = draw(st.dictionaries(TEXT, st.builds(Grant, CAP, COUNT, CAP, COUNT, TEXT), max_size=4))
    peers = draw(st.dictionaries(TEXT, TEXT, max_size=4))
    server = draw(TEXT)
    return Grants(
        draw(COUNT),
        draw(CAP),
        pods,
        peers,
        draw(COUNT) if peers else 0,
        server,
        draw(COUNT) if server else 0,
        reached=draw(TEXT),
    )


REASONS = st.sampled_from(ProblemReason) | TEXT
STATES = st.builds(
    AgentState,
    uid=TEXT,
    version=TEXT,
    pgbouncer=TEXT,
    phase=st.sampled_from(Phase),
    digest=TEXT,
    seq=COUNT,
    cap=COUNT,
    keeps=st.none() | COUNT,
    open=COUNT,
    busy=COUNT,
    waiting=COUNT,
    clients=COUNT,
    clients_max=st.none() | st.integers(1, 2**31),
    totals=st.none() | st.builds(Totals, COUNT, COUNT, COUNT),
    problems=st.lists(st.builds(AgentProblem, REASONS, TEXT), max_size=3).map(tuple),
    users=st.dictionaries(TEXT, st.builds(UserState, st.none() | st.booleans(), TEXT, TEXT), max_size=3),
    certificates=st.dictionaries(TEXT, TEXT, max_size=2),
    validities=st.dictionaries(TEXT, st.builds(CertificateValidity, COUNT, COUNT), max_size=2),
    backend=st.builds(BackendTest, st.sampled_from(BackendReason), TEXT),
    reload=st.none() | st.builds(Reload, TEXT, COUNT.map(lambda each: each / 10**4), st.sampled_from(ReloadKind)),
    traffic=st.sampled_from(Flow),
    lingering=st.lists(TEXT, max_size=3).map(tuple),
    reconnected=TEXT,
    age=COUNT,
    candidates=st.just(True),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@FIXED
@given(intents())
def test_an_intent_is_read_back_whole_with_its_hash(intent: Intent) -> None:
    read = Intent.from_json(intent.to_json())
    assert (read, read.digest, read.to_json()) == (intent, intent.digest, intent.to_json())


@FIXED
@given(grants())
def test_grants_are_read_back_whole(grants: Grants) -> None:
    read = Grants.from_json(grants.to_json())
    assert (read, read.to_json()) == (grants, grants.to_json())


@FIXED
@given(STATES)
def test_a_state_is_read_back_whole_and_by_its_own_pods_uid_only(state: AgentState) -> None:
    read = AgentState.from_json(state.to_json(), state.uid)
    assert read == state
    assert read.to_json() == state.to_json()
    assert AgentState.from_json(state.to_json(), f"{state.uid}-") is None


@FIXED
@given(COUNT)
def test_the_end_of_a_pause_is_read_back(until: int) -> None:
    assert traffic.paused_until(traffic.to_json(until)) == until


@st.composite
def spoiled(draw: st.DrawFn) -> str:
    """A document of ours in which one member has another value or none; or any text."""
    if draw(st.booleans()):
        return draw(TEXT | JSON.map(json.dumps))
    whole = [draw(intents()).to_json(), draw(grants()).to_json(), draw(STATES).to_json(), traffic.to_json(1)]
    document: dict[str, Any] = json.loads(draw(st.sampled_from(whole)))
    key = draw(st.sampled_from(sorted(document)))
    if draw(st.booleans()):
        del document[key]
    else:
        document[key] = draw(JSON)
    return json.dumps(document)


@FIXED
@given(spoiled())
def test_a_document_that_is_not_ours_is_an_error_of_its_own_or_unknown_and_never_another_exception(text: str) -> None:
    for read, error in ((Intent.from_json, IntentError), (Grants.from_json, GrantsError)):
        with contextlib.suppress(error):
            read(text)
    for uid in ("", text):
        state = AgentState.from_json(text, uid)
        assert state is None or state.uid == uid
    traffic.paused_until(text)
