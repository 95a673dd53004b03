"""Intent and grants as documents, and the split of a cap."""

import json
from dataclasses import replace

import pytest

from pgbouncer_operator.protocol.grants import Grant, Grants, GrantsError, split
from pgbouncer_operator.protocol.intent import (
    AuthQueryIntent,
    ClientTlsIntent,
    DatabaseIntent,
    Intent,
    IntentError,
    ServerTls,
    UserIntent,
    _digest,
)

INTENT = Intent(
    "shop/pool",
    {"pool_mode": "transaction", "max_client_conn": 2000},
    (DatabaseIntent("shop", "postgres", max=5),),
    (UserIntent("shop", "shop", username_key="login"),),
    ServerTls("verify-full", "ca.crt"),
)
LOOKUP = {"mount": "_auth-query", "passwordKey": "pw", "database": "shop", "function": "pgbouncer.lookup"}
GRANTS = Grants(seq=12, static=8, pods={"uid-b": Grant(12, 11, 12), "uid-a": Grant(3, 12, 9)})


def altered(*path, value=None, rehash=True):
    document = json.loads(INTENT.to_json())
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    if rehash:
        document["hash"] = _digest(document)
    return json.dumps(document)


def test_documents_survive_and_have_stable_bytes():
    assert Intent.from_json(INTENT.to_json()) == INTENT
    assert Grants.from_json(GRANTS.to_json()) == GRANTS
    known = replace(GRANTS, peers={"uid-a": "198.18.0.5", "uid-b": "fd00::1"}, peers_seq=12)
    assert Grants.from_json(known.to_json()) == known
    tombstone = replace(GRANTS, pods={**GRANTS.pods, "uid-c": Grant(2, 3, 4, gone=1_800_000_000)})
    assert Grants.from_json(tombstone.to_json()) == tombstone
    assert "gone" not in GRANTS.to_json()
    assert GRANTS.to_json() == Grants(12, 8, dict(sorted(GRANTS.pods.items()))).to_json()


def test_the_digest_follows_the_content_and_nothing_else():
    same = Intent(
        "shop/pool", dict(reversed(INTENT.settings.items())), INTENT.databases, INTENT.users, INTENT.server_tls
    )
    assert same.digest == INTENT.digest
    assert len(INTENT.digest) == 16
    assert Intent("shop/pool", {}, (), ()).digest != INTENT.digest


def test_an_older_agent_reads_a_newer_document_and_keeps_its_hash():
    text = altered("databases", 0, "somethingNew", value={"a": 1})
    read = Intent.from_json(text)
    assert read == INTENT
    assert read.digest == json.loads(text)["hash"] != INTENT.digest
    assert Grants.from_json(GRANTS.to_json().replace('"cap"', '"new": 1, "cap"')) == GRANTS


def test_what_a_pool_does_not_use_is_not_written_and_leaves_the_hash_as_it_was():
    assert not {"client_tls", "auth_query", "drain_seconds"} & set(json.loads(INTENT.to_json()))


def test_tls_lookup_and_drain_survive():
    full = replace(
        INTENT,
        client_tls=ClientTlsIntent("prefer"),
        auth_query=AuthQueryIntent("_auth-query", "shop", "pgbouncer.lookup", username_key="login", password_key="pw"),
        drain_seconds=0,
    )
    assert Intent.from_json(full.to_json()) == full
    assert len({full.digest, INTENT.digest, replace(full, client_tls=ClientTlsIntent()).digest}) == 3


BROKEN = [
    ("TLS that is off", altered("client_tls", value={"mode": "disable"}), "client_tls.mode is 'disable'"),
    ("TLS as a word", altered("client_tls", value="require"), "client_tls is not an object"),
    ("SQL for a function", altered("auth_query", value={**LOOKUP, "function": "a.b($1)"}), "auth_query.function"),
    ("a look-up in no database", altered("auth_query", value={**LOOKUP, "database": "web"}), "auth_query.database"),
    ("a look-up's mount elsewhere", altered("auth_query", value={**LOOKUP, "mount": ".."}), "auth_query.mount"),
    ("a negative wait", altered("drain_seconds", value=-1), "drain_seconds is -1"),
    ("no JSON", "{", "is not JSON"),
    ("a list", "[]", "not a JSON object"),
    ("a newer protocol", altered("protocol", value=2), "protocol is 2, this agent knows up to 1"),
    ("a document changed by hand", altered("settings", value={}, rehash=False), "hash is"),
    ("a port out of range", altered("databases", 0, "port", value=70000), "databases[0].port is 70000"),
    ("a boolean for a number", altered("databases", 0, "max", value=True), "databases[0].max is not a whole number"),
    ("a limit of 0", altered("databases", 0, "max", value=0), "databases[0].max is 0"),
    ("a directory for a mount", altered("users", 0, "mount", value="../x"), "users[0].mount"),
    ("a path for a key", altered("users", 0, "passwordKey", value="a/b"), "users[0].passwordKey"),
    ("a path for a CA", altered("server_tls", "ca", value="../ca"), "server_tls.ca"),
    ("verification without a CA", altered("server_tls", "ca", value=""), "server_tls.ca is empty"),
    ("an unverifiable mode", altered("server_tls", "mode", value="prefer"), "server_tls.mode is 'prefer'"),
    ("a number with a fraction", altered("settings", "max_client_conn", value=1.5), "settings.max_client_conn"),
    ("an unknown pool mode", altered("databases", 0, "pool_mode", value="x"), "databases[0].pool_mode"),
    ("a database twice", altered("databases", value=json.loads(INTENT.to_json())["databases"] * 2), "'shop' twice"),
    ("a list missing", altered("users", value=None), "users is not a list"),
]


@pytest.mark.parametrize(("sentence", "text", "words"), BROKEN, ids=[each[0] for each in BROKEN])
def test_a_broken_intent_is_refused_by_field(sentence, text, words):
    with pytest.raises(IntentError) as caught:
        Intent.from_json(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"protocol": 1, "seq": -1, "static": 0, "pods": {}}', "seq is -1"),
        ('{"protocol": 1, "seq": 1, "static": 0}', "pods is missing"),
        ('{"protocol": 1, "seq": 1, "static": 0, "pods": {"u": {"cap": "3", "seq": 1, "high": 3}}}', "pods.u.cap"),
        ('{"protocol": 1, "seq": 1, "static": 0, "pods": {}, "peers": {"u": 7}}', "peers.u is not a string"),
        ('{"protocol": 9, "seq": 1, "static": 0, "pods": {}}', "protocol is 9"),
    ],
)
def test_a_broken_ledger_is_refused_by_field(text, words):
    with pytest.raises(GrantsError) as caught:
        Grants.from_json(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("sentence", "cap", "databases", "demand", "expected"),
    [
        ("one database gets all", 25, [("a", None)], None, {"a": 25}),
        ("equals share equally, the first gets the odd one", 5, [("a", None), ("b", None)], None, {"a": 3, "b": 2}),
        ("a maximum leaves the rest to others", 10, [("a", 2), ("b", None)], None, {"a": 2, "b": 8}),
        ("demand comes first, the rest is shared", 11, [("a", None), ("b", None)], {"b": 8}, {"a": 3, "b": 8}),
        ("who needs less leaves the rest", 9, [("a", None), ("b", None)], {"a": 3, "b": 8}, {"a": 3, "b": 6}),
        ("who needs too much has as much as others", 9, [("a", None), ("b", None)], {"a": 7, "b": 8}, {"a": 5, "b": 4}),
        ("a demand beyond the maximum is none", 9, [("a", None), ("b", 2)], {"b": 8}, {"a": 7, "b": 2}),
        ("everybody keeps one", 3, [("a", None), ("b", None), ("c", None)], {"b": 10**9}, {"a": 1, "b": 1, "c": 1}),
        ("maxima bind together", 10, [("a", 1), ("b", 2)], None, {"a": 1, "b": 2}),
        ("no database needs nothing", 10, [], None, {}),
    ],
)
def test_a_cap_is_split(sentence, cap, databases, demand, expected):
    assert split(cap, databases, demand) == expected


def test_a_cap_smaller_than_the_databases_is_refused_because_0_would_be_unlimited():
    with pytest.raises(GrantsError, match=r"1 server connections cannot be shared by 2 databases.*raise"):
        split(1, [("a", None), ("b", None)])
