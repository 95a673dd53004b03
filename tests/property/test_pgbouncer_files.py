"""Whatever stands in a field: it is refused with the field's name, or PgBouncer reads back exactly what was meant."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.campaign import length
from tests.property.pgbouncer_strategies import TAME, WILD, compositions

from pgbouncer_operator.pgbouncer import ini, userlist
from pgbouncer_operator.protocol import grants
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent, IntentError

# The wild compositions keep their full length: a quarter of them does not notice that names with quotes are let in.
TEXTS = length("PGBOUNCER_TEST_TEXTS", short=25, full=100)
FIXED = {"derandomize": True, "deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
FIELDS = ("databases", "logins", "settings.", "server_tls_ca_file", "the share", "stats_user")


@settings(max_examples=2000, **FIXED)
@given(compositions(wild=True))
def test_a_wild_composition_is_refused_by_field_or_reads_back_as_meant(composition):
    try:
        text = ini.render(composition)
    except ini.CompositionError as error:
        message = str(error)
    else:
        assert ini.parse(text) == ini.compose(composition)
        return
    assert message.startswith(FIELDS)
    assert "\n" not in message


@settings(max_examples=5 * TEXTS, **FIXED)
@given(compositions(wild=False))
def test_an_ordinary_composition_is_never_refused_and_reads_back_as_meant(composition):
    meant = ini.compose(composition)
    text = ini.render(composition)
    assert ini.parse(text) == meant
    assert list(ini.parse(text).pgbouncer) == list(meant.pgbouncer)
    for name, members in meant.databases.items():
        assert members["max_db_connections"] == str(composition.shares[name])


@settings(max_examples=2 * TEXTS, **FIXED)
@given(compositions(wild=False), TAME, TAME)
def test_no_password_is_in_the_ini_or_its_marker(composition, password, other):
    def with_password(value):
        logins = tuple(ini.UserEntry(each.login, value, each.max) for each in composition.logins)
        fields = {name: getattr(composition, name) for name in composition.__slots__}
        return ini.render(ini.Composition(**(fields | {"logins": logins})))

    assert with_password(password) == with_password(other)


@settings(max_examples=40 * TEXTS, **FIXED)
@given(st.dictionaries(WILD | TAME, WILD | TAME, max_size=4))
def test_a_userlist_is_refused_by_login_or_reads_back_as_meant(passwords):
    try:
        text = userlist.render(passwords.items())
    except userlist.UserlistError as error:
        message = str(error)
    else:
        assert userlist.parse(text) == passwords
        return
    assert message.startswith(("the login", "the password of"))
    assert "\n" not in message


@settings(max_examples=10 * TEXTS, **FIXED)
@given(
    st.lists(st.builds(DatabaseIntent, TAME, TAME, st.integers(1, 65535)), max_size=3, unique_by=lambda d: d.name), TAME
)
def test_an_intent_survives_its_document(databases, value):
    intent = Intent("shop/pool", {"server_check_query": value, "max_client_conn": 7}, tuple(databases), ())
    back = Intent.from_json(intent.to_json())
    assert back == intent
    assert back.digest == intent.digest
    assert back.to_json() == intent.to_json()


@settings(max_examples=5 * TEXTS, **FIXED)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | WILD, lambda inner: st.lists(inner) | st.dictionaries(WILD, inner)
    )
)
def test_no_document_does_worse_than_an_intent_error(value):
    with pytest.raises(IntentError):
        Intent.from_json(json.dumps(value))


@settings(max_examples=23 * TEXTS, **FIXED)
@given(
    st.dictionaries(TAME, st.tuples(st.none() | st.integers(1, 40), st.integers(0, 10**6)), min_size=1, max_size=12),
    st.integers(0, 300),
)
def test_a_split_keeps_the_cap_the_floors_and_the_maxima(databases, cap):
    listed = [(name, most) for name, (most, _) in databases.items()]
    try:
        shares = grants.split(cap, listed, {name: demand for name, (_, demand) in databases.items()})
    except grants.GrantsError:
        assert cap < len(databases)
        return
    assert sum(shares.values()) <= cap
    assert all(1 <= shares[name] <= (most or cap) for name, most in listed)
    # Nothing is left over that somebody could have had.
    assert sum(shares.values()) == min(cap, sum(cap if most is None else most for _, most in listed))
