"""Rules for spec.parameters, from a small catalogue: each kind of value, and who may set what."""

import pytest

from pgbouncer_operator.api.parameters import problems, rules
from pgbouncer_operator.pgbouncer.parameter import Audience, Parameter, Type

CATALOGUE = (
    Parameter("keepalive", Type.BOOL, None, "help"),
    Parameter("round_robin", Type.BOOL, None, "help"),
    Parameter("statements", Type.INT, None, "help", 0, 1000),
    Parameter("delay", Type.TIME, None, "help", 1, 60),
    Parameter("facility", Type.ENUM, None, "help", choices=("daemon", "local0")),
    Parameter("ignored", Type.CSV, None, "help"),
    Parameter("protocols", Type.CSV, None, "help", choices=("tlsv1.2", "tlsv1.3")),
    Parameter("query", Type.STR, None, "help"),
    Parameter("pool_mode", Type.ENUM, None, "help", field="poolMode", audience=Audience.FIELD),
    Parameter("auth_type", Type.ENUM, None, "help", audience=Audience.OPERATOR),
    Parameter("ca_file", Type.STR, None, "help", field="backend.tls.ca", audience=Audience.OPERATOR),
    Parameter("job_name", Type.STR, None, "help", audience=Audience.UNSUPPORTED),
)


def complaint(name: str, value: int | str) -> str | None:
    found = [problem.message for problem in problems({name: value}, CATALOGUE)]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("keepalive", 0), ("keepalive", "1"),
        ("statements", 0), ("statements", 1000), ("statements", "1000"), ("statements", "0"),
        ("delay", 1), ("delay", "1"), ("delay", "1.5"), ("delay", "60.000000"),
        ("facility", "local0"),
        ("ignored", ""), ("ignored", "a"), ("ignored", "a,b.c , _d"),
        ("protocols", "tlsv1.2,tlsv1.3"),
        ("query", ""), ("query", 1), ("query", "SELECT 'it''s'"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_good_value_passes(name: str, value: int | str) -> None:
    assert complaint(name, value) is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("keepalive", 2, "keepalive must be 0 or 1"),
        ("round_robin", "on", "round_robin must be 0 or 1"),
        ("statements", -1, "statements must be an integer from 0 to 1000"),
        ("statements", 1001, "statements must be an integer from 0 to 1000"),
        ("statements", "1e2", "statements must be an integer from 0 to 1000"),
        ("statements", "010", "statements must be an integer from 0 to 1000"),
        ("statements", " 10", "statements must be an integer from 0 to 1000"),
        ("statements", "10\n", "statements must be an integer from 0 to 1000"),
        ("statements", "٣", "statements must be an integer from 0 to 1000"),
        ("delay", 0, "delay must be a number of seconds, without a unit, from 1 to 60"),
        ("delay", "60.1", "delay must be a number of seconds, without a unit, from 1 to 60"),
        ("delay", "5s", "delay must be a number of seconds, without a unit, from 1 to 60"),
        ("delay", ".5", "delay must be a number of seconds, without a unit, from 1 to 60"),
        ("facility", "Daemon", "facility must be one of daemon, local0"),
        ("ignored", "a b", "ignored must be names and commas"),
        ("ignored", 5, "ignored must be names and commas"),
        ("protocols", "tlsv1x2", "protocols must be words with commas between them, of tlsv1.2, tlsv1.3"),
    ],
    ids=repr,
)
def test_a_bad_value_is_refused_with_what_to_write_instead(name: str, value: int | str, expected: str) -> None:
    assert complaint(name, value) == f"{expected}: correct it or remove it"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("statement", "statement is not a setting of PgBouncer: correct its spelling, in lower case, or remove it"),
        ("pool_mode", "pool_mode follows from spec.poolMode: set that field and remove it"),
        ("ca_file", "ca_file follows from spec.backend.tls.ca: set that field and remove it"),
        ("auth_type", "auth_type belongs to the operator, which needs its own value to work: remove it"),
        ("job_name", "job_name is not supported by this operator: remove it"),
    ],
)
def test_a_setting_that_is_not_for_users_is_refused_with_the_way_out(name: str, expected: str) -> None:
    assert complaint(name, "x") == expected


def test_the_order_of_the_catalogue_does_not_matter() -> None:
    cel = [rule.validation() for rule in rules(CATALOGUE)]
    assert cel == [rule.validation() for rule in rules(reversed(CATALOGUE))]


def test_settings_with_the_same_values_share_one_rule() -> None:
    booleans = [
        rule.cel for rule in rules(CATALOGUE) if '"keepalive","round_robin"' in rule.cel and "[0, 1]" in rule.cel
    ]
    assert len(booleans) == 1


def test_an_empty_catalogue_refuses_everything() -> None:
    assert [problem.message for problem in problems({"a": 1}, ())] == [
        "a is not a setting of PgBouncer: correct its spelling, in lower case, or remove it"
    ]
