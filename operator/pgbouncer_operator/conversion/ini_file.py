"""Reads a pgbouncer.ini and a userlist.txt line by line, with the number of each line for remarks. Pure.

`pgbouncer.syntax` reads a file as PgBouncer does, up to the first fault. This reader goes on after it and says where it
was. https://www.pgbouncer.org/config.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pgbouncer_operator.conversion.result import Conversion
from pgbouncer_operator.pgbouncer import syntax

INI, USERLIST = "pgbouncer.ini", "userlist.txt"
_SETTING = re.compile(r"(?:'(?P<quoted>[^']*)'|(?P<bare>[A-Za-z0-9_.*-]+))\s*=\s*(?P<value>.*)")
_MEMBER = re.compile(r"\s*(?P<key>[A-Za-z0-9_]+)\s*=\s*(?:'(?P<quoted>(?:[^']|'')*)'|(?P<bare>[^'\s]+))(?=\s|$)")
_LOGIN = re.compile(r'"(?P<login>(?:[^"]|"")*)"\s+"(?P<password>(?:[^"]|"")*)"')


@dataclass(frozen=True, slots=True)
class Line:
    """A setting, or an entry of another section."""

    place: str
    """File and number of the line."""
    name: str
    """The setting's or the entry's name."""
    value: str
    """The text after the equals sign."""
    members: Mapping[str, str]
    """Of an entry of another section than [pgbouncer], the members of its connection string."""


@dataclass(frozen=True, slots=True)
class IniFile:
    """The lines of each section, the last one of each name."""

    databases: tuple[Line, ...]
    """Of [databases]."""
    users: tuple[Line, ...]
    """Of [users]."""
    peers: tuple[Line, ...]
    """Of [peers]."""
    settings: tuple[Line, ...]
    """Of [pgbouncer]."""

    def setting(self, name: str, default: str = "") -> str:
        """The value of a setting, or the default."""
        return next((each.value for each in self.settings if each.name == name), default)

    def place(self, *names: str, absent: str = INI) -> str:
        """Where the first of these settings stands that the file has; `absent` where it has none of them."""
        places = {each.name: each.place for each in self.settings}
        return next((places[name] for name in names if name in places), absent)


def read(text: str, result: Conversion) -> IniFile:
    """The settings of a pgbouncer.ini. A line that cannot be read is a remark, which does not quote it."""
    sections: dict[str, dict[str, Line]] = {title: {} for title in syntax.SECTIONS}
    section = ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line, place = raw.strip(), f"{INI}:{number}"
        if not line or line[0] in ";#":
            continue
        if line.startswith("%include"):
            result.remark(place, "%include is not followed: put the text of that file in its place, and import again.")
        elif line[0] == "[":
            section = line.strip("[]").strip()
            if section not in sections:
                result.remark(place, "This section is not one of PgBouncer: its lines are left out.")
        elif found := _SETTING.fullmatch(line):
            entry = _entry(place, section, found, result)
            if section in sections:
                sections[section].pop(entry.name, None)
                sections[section][entry.name] = entry
        else:
            result.remark(place, "This line is not `name = value`: it is left out.")
    databases, users, peers, settings = (tuple(sections[title].values()) for title in syntax.SECTIONS)
    return IniFile(databases, users, peers, settings)


def _entry(place: str, section: str, found: re.Match[str], result: Conversion) -> Line:
    name = found["quoted"] if found["bare"] is None else found["bare"]
    value = found["value"].strip()
    if section == "pgbouncer":
        return Line(place, name, value, {})
    members, position = {}, 0
    while position < len(value):
        member = _MEMBER.match(value, position)
        if member is None:
            result.remark(place, f"{name} has a part that is not `key=value`: the line is read up to there.")
            break
        quoted = member["quoted"]
        members[member["key"]] = member["bare"] if quoted is None else quoted.replace("''", "'")
        position = member.end()
    return Line(place, name, value, members)


@dataclass(frozen=True, slots=True)
class ListedLogin:
    """A login of a userlist.txt."""

    place: str
    """File and number of the line."""
    login: str
    """The login."""
    password: str
    """A password, or its hash."""


def read_userlist(text: str, result: Conversion) -> tuple[ListedLogin, ...]:
    """The logins of a userlist.txt, the last one of each name. A line that cannot be read is a remark."""
    entries: dict[str, ListedLogin] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line, place = raw.strip(), f"{USERLIST}:{number}"
        if not line or line[0] in ";#":
            continue
        found = _LOGIN.match(line)
        if found is None:
            result.remark(place, 'This line is not `"login" "password"`: it is left out.')
            continue
        login, password = (found[part].replace('""', '"') for part in ("login", "password"))
        entries[login] = ListedLogin(place, login, password)
    return tuple(entries.values())
