"""What a pool's pods read in traffic.json."""

import pytest

from pgbouncer_operator.protocol.traffic import paused_until


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"protocol":1,"traffic":"Paused","until":12}', 12),
        ('{"protocol":1,"traffic":"Flowing","until":12}', None),
        ('{"traffic":"Paused"}', None),
        ('{"traffic":"Paused","until":"soon"}', None),
        ('{"traffic":"Paused","until":1e999}', None),
        ("[" * 100_000, None),
        ("[]", None),
        ("{", None),
        ("", None),
    ],
)
def test_a_pause_that_cannot_be_read_is_none(text: str, expected: int | None) -> None:
    assert paused_until(text) == expected
