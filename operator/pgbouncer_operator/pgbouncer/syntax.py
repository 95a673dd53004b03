"""PgBouncer's ini syntax: writes sections as text, and reads text as PgBouncer does. Pure.

Source: https://www.pgbouncer.org/config.html and PgBouncer's behaviour, see the README in this folder. A value that the
syntax cannot express (a control character, a quote in a name) is refused and never changed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pgbouncer_operator.pgbouncer.characters import unfit

# At the header [pgbouncer] every global setting returns to its default, and PgBouncer stops reading at the first bad
# line. With the global settings last, an error in another section leaves them unchanged.
SECTIONS = ("databases", "users", "peers", "pgbouncer")

_BLANK = " \t\v\f\r"  # PgBouncer strips the characters of C's isspace; Python's strip has more
_BARE_KEY = re.compile(r"[A-Za-z0-9_.*-]+")


class CompositionError(ValueError):
    """A configuration that PgBouncer cannot read or must not be given. The message names the field and the reason."""


class SyntaxProblem(ValueError):
    """A text that PgBouncer would refuse. The message names the line."""


@dataclass(frozen=True, slots=True)
class Ini:
    """A configuration file as data, in the order of its lines."""

    databases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """For each name the members of its connection string."""
    users: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """For each login the members of its connection string."""
    peers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """For each peer's number the members of its connection string."""
    pgbouncer: Mapping[str, str] = field(default_factory=dict)
    """The global settings."""


def write(ini: Ini) -> str:
    """The file's text. Raises CompositionError for a member that PgBouncer's syntax cannot express."""
    lines: list[str] = []
    for title, entries in (("databases", ini.databases), ("users", ini.users), ("peers", ini.peers)):
        lines.append(f"[{title}]")
        for name, members in entries.items():
            line = f"{_quoted_name(name, title)} = {_connection_string(members, f'{title}[{name}]')}"
            lines.append(line.rstrip(" "))
        lines.append("")
    lines.append("[pgbouncer]")
    for key, value in ini.pgbouncer.items():
        lines.append(f"{key} = {_plain(value, key)}".rstrip(" "))
    return "\n".join(lines) + "\n"


def parse(text: str) -> Ini:
    """What PgBouncer reads in `text`. Raises SyntaxProblem where PgBouncer refuses it, and for an include."""
    sections: dict[str, dict[str, str]] = {title: {} for title in SECTIONS}
    section = ""
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip(_BLANK)
        if not line or line[0] in ";#":
            continue
        if line[0] == "%":
            raise SyntaxProblem(f"line {number}: a directive: {line}")
        if line[0] == "[":
            section = _section(line, number)
            continue
        if not section:
            raise SyntaxProblem(f"line {number}: a setting before any section")
        key, value = _setting(line, number)
        sections[section][key] = value
    listed = {
        title: {name: _members(value, f"{title}[{name}]") for name, value in sections[title].items()}
        for title in SECTIONS[:3]
    }
    return Ini(listed["databases"], listed["users"], listed["peers"], sections["pgbouncer"])


def _quoted_name(name: str, section: str) -> str:
    where = f"the name {name!r} in [{section}]"
    if not name:
        raise CompositionError(f"a name in [{section}] is empty")
    _refuse_unfit(name, where)
    if "'" in name:
        raise CompositionError(f"{where} holds a single quote, for which PgBouncer has no escape: rename it")
    return f"'{name}'"


def _connection_string(members: Mapping[str, str], where: str) -> str:
    # Always quoted, because a blank ends an unquoted value. PgBouncer refuses an empty value.
    parts = []
    for key, value in members.items():
        _refuse_unfit(value, f"{where}.{key}")
        if not value:
            raise CompositionError(f"{where}.{key} is empty, which PgBouncer refuses: leave it out")
        parts.append(f"{key}='{value.replace(chr(39), chr(39) * 2)}'")
    return " ".join(parts)


def _plain(value: str, key: str) -> str:
    _refuse_unfit(value, key)
    if value != value.strip(_BLANK):
        raise CompositionError(f"{key} starts or ends with a blank, which PgBouncer would strip: remove it")
    return value


def _refuse_unfit(text: str, where: str) -> None:
    fault = unfit(text)
    if fault is not None:
        raise CompositionError(f"{where} holds {fault}: remove it")


def _section(line: str, number: int) -> str:
    if not line.endswith("]") or line[1:-1] not in SECTIONS:
        raise SyntaxProblem(f"line {number}: an unknown section: {line}")
    return line[1:-1]


def _setting(line: str, number: int) -> tuple[str, str]:
    if line[0] == "'":
        key, quote, rest = line[1:].partition("'")
    else:
        bare = _BARE_KEY.match(line)
        key, quote = (bare.group(), "bare") if bare else ("", "")
        rest = line[len(key) :]
    rest = rest.lstrip(_BLANK)
    if not key or not quote or not rest.startswith("="):
        raise SyntaxProblem(f"line {number}: not `key = value`: {line}")
    return key, rest[1:].strip(_BLANK)


_MEMBER = re.compile(r" *([A-Za-z0-9_]+)=(?:'((?:[^']|'')*)'|([^' ]+))(?= |$)")


def _members(value: str, where: str) -> dict[str, str]:
    members: dict[str, str] = {}
    position = 0
    while position < len(value.rstrip(" ")):
        member = _MEMBER.match(value, position)
        if member is None:
            raise SyntaxProblem(f"{where}: not `key='value'` from column {position}: {value}")
        key, quoted, bare = member.groups()
        if not (quoted or bare):
            raise SyntaxProblem(f"{where}.{key} is empty")
        members[key] = bare if quoted is None else quoted.replace("''", "'")
        position = member.end()
    return members
