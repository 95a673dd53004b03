"""Which known vulnerabilities a version of PgBouncer has. Pure. Source: https://www.pgbouncer.org/changelog.html."""

from dataclasses import dataclass

from pgbouncer_operator.pgbouncer.parameter import version_order


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One vulnerability of PgBouncer that has a CVE number."""

    cve: str
    fixed: str
    """The first version without it."""
    effect: str
    """What an attacker can do, as a clause."""
    since: str = "1.0"
    """The first version with it."""


VULNERABILITIES = (
    Vulnerability("CVE-2026-107350", "1.26.1", "whoever knows one password can log in as another user", "1.17"),
    Vulnerability("CVE-2026-107349", "1.26.1", "a client can make it spin without a login", "1.20"),
    Vulnerability("CVE-2026-107348", "1.26.1", "a client can make it hang if max_packet_size is over 2 GiB"),
    Vulnerability("CVE-2026-19888", "1.26.0", "a client can crash it without a login", "1.11"),
    Vulnerability("CVE-2026-6668", "1.26.0", "a client can make it spin without a login"),
    Vulnerability("CVE-2026-6669", "1.26.0", "a hostile server can keep it busy with SCRAM iterations"),
    Vulnerability("CVE-2026-6664", "1.25.2", "a client can crash it without a login"),
    Vulnerability("CVE-2026-6665", "1.25.2", "a hostile server can overflow its stack"),
    Vulnerability("CVE-2026-6666", "1.25.2", "a null pointer can crash it"),
    Vulnerability("CVE-2026-6667", "1.25.2", "any user of the console can disconnect clients"),
    Vulnerability("CVE-2025-12819", "1.25.1", "a client can run SQL as the user of auth_query"),
    Vulnerability("CVE-2025-2291", "1.24.1", "expired passwords work with auth_query"),
)
"""The newest first. Older versions lack settings that every pool needs, so they never serve."""


def known(version: str) -> tuple[Vulnerability, ...]:
    """The vulnerabilities of PgBouncer `version`, such as "1.25.1", the newest first.

    None is known of a text that is no version. A distributor may have fixed one without a new version.
    """
    number = version_order(version)
    if len(number) < 2:
        return ()
    return tuple(each for each in VULNERABILITIES if version_order(each.since) <= number < version_order(each.fixed))


def newest_fix() -> str:
    """The first version without any of them."""
    return max((each.fixed for each in VULNERABILITIES), key=version_order)


def oldest(versions: list[str]) -> str:
    """The oldest of some versions, of which there is at least one."""
    return min(versions, key=version_order)
