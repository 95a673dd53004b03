"""The composed configuration: order, limits, names, and three tables of which the last cannot be overridden."""

from dataclasses import replace

import pytest

from pgbouncer_operator.pgbouncer import ini, parameters
from pgbouncer_operator.pgbouncer.composition import LOOKUP, Composition, Paths, Peer, UserEntry
from pgbouncer_operator.pgbouncer.parameters import Audience
from pgbouncer_operator.protocol.intent import AuthQueryIntent, DatabaseIntent, Intent, ServerTls

INTENT = Intent("shop/pool", {"max_client_conn": 500}, (DatabaseIntent("shop", "postgres"),), ())
COMPOSITION = Composition(INTENT, {"shop": 7}, 3, (UserEntry("shop", "hunter2"),), "..g1", "stats_a1")


def with_settings(**settings):
    return replace(COMPOSITION, intent=replace(INTENT, settings=settings))


def with_database(**fields):
    database = replace(INTENT.databases[0], **fields)
    return replace(COMPOSITION, intent=replace(INTENT, databases=(database,)), shares={database.name: 7})


def test_sections_come_in_an_order_in_which_an_early_error_spares_the_globals():
    text = ini.render(COMPOSITION)
    places = [text.index(f"[{section}]") for section in ("databases", "users", "peers", "pgbouncer")]
    assert places == sorted(places)
    keys = list(ini.compose(COMPOSITION).pgbouncer)
    first = [key for key in ini.FIRST if key in keys]
    assert set(ini.FIRST) - set(first) == {"auth_user"}, "this pool looks no login up"
    assert keys[: len(first)] == first
    assert keys[len(first) : -1] == sorted(keys[len(first) : -1])
    assert text.splitlines()[-1] == f"syslog_ident = {ini.marker(COMPOSITION)}"


@pytest.mark.parametrize("lookup", ["", "pgb_lookup"])
@pytest.mark.parametrize("query", [None, AuthQueryIntent("auth", "shop", "pgb.user_lookup")])
def test_a_setting_that_pgbouncer_reads_as_set_when_it_is_empty_is_never_written_empty(query, lookup):
    """Those whose default is NULL. An empty auth_user is a login with an empty name at PostgreSQL."""
    looking = replace(COMPOSITION, intent=replace(INTENT, auth_query=query), lookup=lookup)
    if query:
        looking = replace(looking, shares={"shop": 6, LOOKUP: 1})
    empty = {key for key, value in ini.compose(looking).pgbouncer.items() if not value}
    assert [key for key in sorted(empty) if parameters.lookup(key).default is None] == []


@pytest.mark.parametrize("key", sorted(ini.mandatory(COMPOSITION).keys() | {ini.MARKER}))
def test_a_pool_cannot_override_a_mandatory_setting(key):
    row = parameters.lookup(key)
    assert row is not None
    assert row.audience is Audience.OPERATOR
    with pytest.raises(ini.CompositionError, match=f"^settings.{key} is set by the operator"):
        ini.render(with_settings(**{key: "1"}))


def test_a_pools_setting_beats_the_default_and_the_mandatory_table_beats_both():
    merged = ini.compose(with_settings(server_login_retry=5)).pgbouncer
    assert merged["server_login_retry"] == "5"
    assert ini.compose(COMPOSITION).pgbouncer["server_login_retry"] == "1"
    assert not ini.mandatory(COMPOSITION).keys() & ini.defaults(30).keys()


@pytest.mark.parametrize("wait", [1, 5, 30, 600])
def test_a_silent_server_is_noticed_before_waiting_clients_give_up(wait):
    merged = ini.compose(with_settings(query_wait_timeout=wait)).pgbouncer
    assert 0 < int(merged["tcp_user_timeout"]) < wait * 1000


def test_every_database_has_an_explicit_limit_and_the_pod_their_sum():
    two = replace(
        COMPOSITION,
        intent=replace(INTENT, databases=(*INTENT.databases, DatabaseIntent("log", "postgres", pool_mode="session"))),
        shares={"shop": 7, "log": 2},
    )
    composed = ini.compose(two)
    assert {name: each["max_db_connections"] for name, each in composed.databases.items()} == {"shop": "7", "log": "2"}
    assert {name: each["pool_mode"] for name, each in composed.databases.items()} == {
        "shop": "transaction",
        "log": "session",
    }
    assert composed.pgbouncer["max_db_connections"] == "9"


def test_a_user_without_a_limit_is_listed_still_so_that_an_earlier_one_is_reset():
    composed = ini.compose(replace(COMPOSITION, logins=(UserEntry("a", "x", 3), UserEntry("b", "y"))))
    assert composed.users == {"a": {"max_user_connections": "3"}, "b": {}}
    assert "\n'b' =\n" in ini.render(replace(COMPOSITION, logins=(UserEntry("b", "y"),)))


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 4},
        {"credentials": "..g2"},
        {"shares": {"shop": 6}},
        {"logins": (UserEntry("shop", "hunter2", max=1),)},
        {"peer_id": 9},
        {"paths": Paths("/run/candidate")},
        {"intent": replace(INTENT, settings={"max_client_conn": 501})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_marker_names_the_whole_configuration(change):
    assert ini.marker(replace(COMPOSITION, **change)) != ini.marker(COMPOSITION)


def test_no_password_reaches_the_ini_the_marker_or_a_representation():
    other = replace(COMPOSITION, logins=(UserEntry("shop", "another"),))
    assert ini.render(other) == ini.render(COMPOSITION)
    assert "hunter2" not in ini.render(COMPOSITION) + repr(COMPOSITION)


def test_a_throw_away_process_listens_nowhere_but_on_its_socket():
    composed = ini.compose(replace(COMPOSITION, listen=False, paths=Paths("/run/pgbouncer/candidate")))
    assert composed.pgbouncer["listen_addr"] == ""
    assert composed.pgbouncer["unix_socket_dir"] == "/run/pgbouncer/candidate"


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        (ServerTls("require"), ""),
        (ServerTls("verify-full", "ca.crt"), "/etc/pgbouncer/ca/ca.crt"),
        (ServerTls("verify-full", "system"), "/etc/ssl/certs/ca-certificates.crt"),
    ],
)
def test_the_ca_is_a_file_the_pod_has(tls, expected):
    composed = ini.compose(replace(COMPOSITION, intent=replace(INTENT, server_tls=tls)))
    assert composed.pgbouncer["server_tls_ca_file"] == expected
    assert composed.pgbouncer["server_tls_sslmode"] == tls.mode


def test_peers_are_written_by_number():
    composed = ini.compose(replace(COMPOSITION, peer_id=2, peers=(Peer(9, "10.0.0.9"), Peer(2, "10.0.0.2"))))
    assert list(composed.peers) == ["2", "9"]
    assert composed.peers["9"]["host"] == "10.0.0.9"


REFUSED = [
    ("a database without a share", replace(COMPOSITION, shares={}), "has no share"),
    ("a share of 0, which means unlimited", replace(COMPOSITION, shares={"shop": 0}), "must be at least 1"),
    ("a newline in a host", with_database(host="a\nb"), "neither a DNS name nor an IP"),
    ("a host with a second member", with_database(host="a' pool_size='0"), "neither a DNS name nor an IP"),
    ("a quote in a database's name", with_database(name="it's"), "single quote"),
    ("the console's name", with_database(name="pgbouncer"), "meaning of its own"),
    ("the name for every database", with_database(name="*"), "meaning of its own"),
    ("a name too long", with_database(name="x" * 64), "1 to 63 bytes"),
    ("port 0", with_database(port=0), "from 1 to 65535"),
    ("a newline in a login", replace(COMPOSITION, logins=(UserEntry("a\nb", "x"),)), "U+000A"),
    ("a login too long", replace(COMPOSITION, logins=(UserEntry("x" * 128, "x"),)), "1 to 127 bytes"),
    ("the probes' login", replace(COMPOSITION, logins=(UserEntry("stats_a1", "x"),)), "user of PgBouncer's console"),
    ("a login twice", replace(COMPOSITION, logins=(UserEntry("a", "x"), UserEntry("a", "y"))), "twice"),
    ("a user's limit of 0", replace(COMPOSITION, logins=(UserEntry("a", "x", 0),)), "must be at least 1"),
    ("a stats user with a blank", replace(COMPOSITION, stats_user="a trust"), "stats_user must be"),
    ("a peer beyond the numbers", replace(COMPOSITION, peers=(Peer(20000, "10.0.0.1"),)), "from 1 to 16383"),
    ("an unknown setting", with_settings(max_client_con=1), "did you mean max_client_conn?"),
    ("a setting too large", with_settings(max_client_conn=10**9), "from 1 to 100000"),
]


@pytest.mark.parametrize(("sentence", "composition", "words"), REFUSED, ids=[each[0] for each in REFUSED])
def test_it_refuses(sentence, composition, words):
    with pytest.raises(ini.CompositionError) as caught:
        ini.render(composition)
    assert words in str(caught.value)
