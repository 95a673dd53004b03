"""The section of a version in the changelog, and its day."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.localcluster.problem import Problem


@dataclass(frozen=True, slots=True)
class Section:
    """What changes with a version, in Markdown without the heading, and the day of the release at midnight, UTC."""

    text: str
    day: datetime


def section(changelog: str, version: str) -> Section:
    """The section `## 1.2.3 (2026-12-31)` of the newest version; Problem when the newest is another one."""
    heading, _, rest = changelog.partition("\n## ")[2].partition("\n")
    found = re.fullmatch(rf"{re.escape(version)} \((\d{{4}}-\d{{2}}-\d{{2}})\)", heading)
    if not found:
        wanted = f"## {version} (YYYY-MM-DD)"
        raise Problem(f"CHANGELOG.md begins with `## {heading}`: name its newest section `{wanted}`, and commit that")
    text = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not text:
        raise Problem(f"CHANGELOG.md says nothing about {version}: write what changes")
    return Section(f"{text}\n", datetime.strptime(found[1], "%Y-%m-%d").replace(tzinfo=UTC))
