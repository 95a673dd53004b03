import pytest

from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.pgbouncer.vulnerabilities import VULNERABILITIES, known, newest_fix, oldest

OF_1_26_1 = ["CVE-2026-107350", "CVE-2026-107349", "CVE-2026-107348"]


@pytest.mark.parametrize(
    ("version", "cves"),
    [
        ("1.26.1", []),
        ("1.26.2", []),
        ("1.100.0", []),
        ("2.0", []),
        ("1.26.0", OF_1_26_1),
        ("1.25.2", [*OF_1_26_1, "CVE-2026-19888", "CVE-2026-6668", "CVE-2026-6669"]),
        ("", []),
        ("master", []),
        ("9" * 5000, []),
    ],
)
def test_a_version_has_what_was_fixed_after_it(version: str, cves: list[str]) -> None:
    assert [each.cve for each in known(version)] == cves


def test_a_version_does_not_have_what_came_later() -> None:
    assert "CVE-2026-107349" not in {each.cve for each in known("1.19.1")}
    assert "CVE-2026-107349" in {each.cve for each in known("1.20.0")}


def test_the_pools_image_has_none() -> None:
    assert known(parameters.VERSION) == ()
    assert newest_fix() == "1.26.1"


def test_each_has_its_own_number_and_a_fix_after_its_beginning() -> None:
    assert len({each.cve for each in VULNERABILITIES}) == len(VULNERABILITIES)
    assert all(each in known(each.since) for each in VULNERABILITIES)


def test_versions_are_compared_as_numbers() -> None:
    assert oldest(["1.26.0", "1.9.0", "1.25.10"]) == "1.9.0"
