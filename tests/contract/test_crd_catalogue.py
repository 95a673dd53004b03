"""The API server's rules and the operator's own reading of a pool must never disagree about what is acceptable."""

import pytest
from tests.contract.pools import BAD, GOOD, Bad, Object, parameters, pool

from pgbouncer_operator.api.connection_pool import InvalidSpec
from pgbouncer_operator.api.parameters import problems
from pgbouncer_operator.pgbouncer.parameters import CATALOGUE, Parameter, Type, for_users
from pgbouncer_operator.reconcile.specification import read


@pytest.mark.parametrize(("sentence", "body"), GOOD, ids=[sentence for sentence, _ in GOOD])
def test_what_the_server_lets_in_the_operator_can_read(sentence: str, body: Object) -> None:
    assert read(body).metadata.name == body["metadata"]["name"], sentence


@pytest.mark.parametrize("bad", BAD, ids=[bad.sentence for bad in BAD])
def test_what_the_server_refuses_the_operator_refuses_too(bad: Bad) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        read(bad.body)
    (problem,) = refusal.value.problems
    assert problem.field.startswith(bad.field)


def probes(rule: Parameter) -> list[int | str]:
    """Values around every border of a setting."""
    around = [rule.minimum - 1, rule.minimum, rule.maximum, rule.maximum + 1]
    words = ["", "0", "1", "2", "on", "-1", "1.5", "1.", "01", "5s", "a", "a b", "a,b", "a, b", "A.b", "1a", "ü"]
    return [*around, *map(str, around), *words, *rule.choices, ",".join(rule.choices)]


USERS = {row.name for row in for_users()}
# Every text is a good text, once the models' pattern for all values has let it pass.
FREE = [rule for rule in CATALOGUE if rule.name in USERS and rule.type is not Type.STR]


@pytest.mark.parametrize("rule", FREE, ids=[rule.name for rule in FREE])
def test_both_judge_every_setting_alike_around_its_borders(rule: Parameter) -> None:
    for value in probes(rule):
        expected = not problems({rule.name: value}, CATALOGUE)
        assert acceptable(pool(parameters(**{rule.name: value}))) == expected, (rule.name, value)


def acceptable(body: Object) -> bool:
    try:
        read(body)
    except InvalidSpec:
        return False
    return True
