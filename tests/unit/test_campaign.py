"""The lengths of campaigns: short, full, or the one that a variable of their own says."""

import pytest
from tests.campaign import length


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 2),
        ({"PGBOUNCER_TEST_CAMPAIGN": "short"}, 2),
        ({"PGBOUNCER_TEST_CAMPAIGN": "full"}, 50),
        ({"PGBOUNCER_TEST_ROLLS": "7"}, 7),
        ({"PGBOUNCER_TEST_CAMPAIGN": "full", "PGBOUNCER_TEST_ROLLS": "7"}, 7),
    ],
)
def test_a_campaign_has_the_length_that_is_asked_for(environment: dict[str, str], expected: int) -> None:
    assert length("PGBOUNCER_TEST_ROLLS", short=2, full=50, environment=environment) == expected


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PGBOUNCER_TEST_CAMPAIGN": "long"}, "PGBOUNCER_TEST_CAMPAIGN is 'long': set it to full"),
        ({"PGBOUNCER_TEST_ROLLS": "many"}, "PGBOUNCER_TEST_ROLLS is 'many': set it to a whole number"),
        ({"PGBOUNCER_TEST_ROLLS": "0"}, "PGBOUNCER_TEST_ROLLS is '0': set it to a whole number of at least 1"),
    ],
)
def test_a_length_that_is_none_is_refused_with_what_to_set(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        length("PGBOUNCER_TEST_ROLLS", short=2, full=50, environment=environment)
