"""The catalogue: what it allows, what it refuses, and in which words."""

import pytest

from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.pgbouncer.parameters import CATALOGUE, Audience, Type

REFUSED = [
    ("an unknown name", "no_such_thing_at_all", 1, "is not a setting of PgBouncer"),
    ("a name with a slip", "server_reset_querry", "x", "did you mean server_reset_query?"),
    ("a name written with hyphens", "tcp-keepalive", 1, "did you mean tcp_keepalive?"),
    ("a setting that has a field", "query_wait_timeout", 5, "set timeouts.queryWaitSeconds"),
    ("a setting of the operator", "listen_addr", "*", "is set by the operator"),
    ("a limit of the operator", "max_db_connections", 5, "from serverConnections.max"),
    ("an unsupported setting", "auth_ldap_options", "x", "is not supported"),
    ("a removed setting", "suspend_timeout", 5, "was removed in PgBouncer 1.26.0"),
    ("a leading zero, octal to PgBouncer", "tcp_keepcnt", "010", "use a whole number"),
    ("a hexadecimal number", "tcp_keepcnt", "0x10", "use a whole number"),
    ("a negative number", "max_prepared_statements", -1, "use a whole number"),
    ("a number too large", "listen_backlog", 65536, "from 1 to 65535"),
    ("a number too small", "pkt_buf", 100, "from 2048 to 65536"),
    ("a fraction for a whole number", "tcp_keepcnt", "1.5", "use a whole number"),
    ("a unit", "server_check_delay", "5m", "without a unit"),
    ("a negative time", "server_check_delay", "-1", "without a unit"),
    ("a boolean word", "server_round_robin", "on", "takes 0 (off) and 1 (on) only"),
    ("a boolean of YAML", "server_round_robin", True, "write a number or a string in quotes"),
    ("a newline", "server_check_query", "select 1\nadmin_users = x", "holds the control character U+000A"),
    ("a blank at the end", "server_check_query", "select 1 ", "starts or ends with a blank"),
    ("a value too long", "server_check_query", "x" * 1025, "is longer than 1024"),
    ("an old TLS version", "server_tls_protocols", "tlsv1.0", "use a list of secure"),
    ("a list with a sentence", "ignore_startup_parameters", "a b", "use names with commas"),
    ("an empty word in a list", "ignore_startup_parameters", "a,,b", "use names with commas"),
]


@pytest.mark.parametrize(("sentence", "name", "value", "words"), REFUSED, ids=[each[0] for each in REFUSED])
def test_it_refuses(sentence, name, value, words):
    problem = parameters.check(name, value)
    assert problem is not None
    assert problem.name == name
    assert problem.message.startswith(name)
    assert words in problem.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server_check_delay", "0.5"),
        ("server_check_delay", 30),
        ("server_check_query", ""),
        ("ignore_startup_parameters", "extra_float_digits, search_path"),
        ("server_tls_protocols", "tlsv1.2,tlsv1.3"),
        ("server_round_robin", 1),
        ("max_packet_size", "2147483647"),
    ],
)
def test_it_allows(name, value):
    assert parameters.check(name, value) is None


def test_a_setting_newer_than_the_pools_pgbouncer_is_refused_with_both_versions():
    problem = parameters.check("pool_idle_timeout", 60, version="1.25.2")
    assert problem is not None
    assert "needs PgBouncer 1.26 and this pool runs 1.25.2" in problem.message
    assert parameters.check("pool_idle_timeout", 60, version="1.26.0") is None


def test_a_strange_name_stays_one_short_line():
    problem = parameters.check("a\nb" + "c" * 500, 1)
    assert problem is not None
    assert "\n" not in problem.message
    assert len(problem.message) < 200


def test_names_are_unique_and_every_row_says_what_it_does():
    assert len({row.name for row in CATALOGUE}) == len(CATALOGUE)
    assert all(row.help.endswith(".") and "|" not in row.help for row in CATALOGUE)
    assert all(row.minimum <= row.maximum for row in CATALOGUE)
    assert all(row.choices for row in CATALOGUE if row.type is Type.ENUM)


def test_every_setting_with_a_field_names_it():
    assert all(row.field for row in CATALOGUE if row.audience is Audience.FIELD)
