"""Entries of the section [databases]: servers, databases, and how many connections they need. Pure."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from pgbouncer_operator.conversion.ini_file import INI, IniFile, Line
from pgbouncer_operator.conversion.result import PLACEHOLDER, Body, Conversion, count

EVERY = "*"
MOST = 10_000  # the largest serverConnections.max
_IN_POSTGRESQL = "set it in PostgreSQL, with ALTER DATABASE or ALTER ROLE."
# Members of a connection string that are no part of spec.databases, and what to do.
LEFT_OUT = {
    "application_name": _IN_POSTGRESQL,
    "auth_dbname": "spec.authQuery is one for all databases.",
    "auth_query": "spec.authQuery is one for all databases.",
    "auth_user": "spec.authQuery is one for all databases.",
    "client_encoding": _IN_POSTGRESQL,
    "connect_query": _IN_POSTGRESQL,
    "datestyle": _IN_POSTGRESQL,
    "min_pool_size": "a pool opens no connection in advance.",
    "timezone": _IN_POSTGRESQL,
}
_READ = {
    "dbname",
    "host",
    "max_db_connections",
    "password",
    "pool_mode",
    "pool_size",
    "port",
    "reserve_pool",
    "reserve_pool_size",
    "user",
}


@dataclass(frozen=True, slots=True)
class SourceServer:
    """A server."""

    host: str
    """Its host, or the placeholder."""
    port: int
    """Its port."""


def by_server(ini: IniFile, result: Conversion) -> dict[SourceServer, list[Line]]:
    """The databases of each server, in the order of the file. There is at least one server with one database."""
    lines = [each for each in ini.databases if each.name != EVERY]
    for every in (each for each in ini.databases if each.name == EVERY):
        message = "* serves every database, which no pool does: list the databases in spec.databases."
        result.remark(every.place, message)
        if not lines:
            lines.append(Line(every.place, PLACEHOLDER, every.value, every.members))
    if not lines:
        result.remark(INI, f"[databases] names none: put your server and database in place of {PLACEHOLDER}.")
        lines.append(Line(INI, PLACEHOLDER, "", {"host": PLACEHOLDER}))
    found: dict[SourceServer, list[Line]] = {}
    for line in lines:
        found.setdefault(_server(line, result), []).append(line)
    return found


def convert(ini: IniFile, lines: Iterable[Line], result: Conversion) -> list[Body]:
    """The entries of spec.databases."""
    mode = ini.setting("pool_mode", "session")
    found = []
    for line in lines:
        entry: Body = {"name": line.name}
        if (backend := line.members.get("dbname", line.name)) != line.name:
            entry["backendName"] = backend
        if (own := line.members.get("pool_mode", mode)) != mode:
            entry["poolMode"] = own
        if cap := _cap(ini, line):
            entry["serverConnections"] = {"max": min(cap, MOST)}
        for key in sorted(line.members.keys() - _READ):
            why = LEFT_OUT.get(key, "a pool has no such setting of a database.")
            result.remark(line.place, f"{key} of the database {line.name!r} is left out: {why}")
        found.append(entry)
    return found


def connections(ini: IniFile, lines: list[Line], users: int) -> int:
    """Most server connections that one process of PgBouncer opens for these databases, and one for each at least.

    users: number of logins. PgBouncer has a pool for each pair of database and login.
    """
    reserve = ini.setting("reserve_pool_size", "0")
    total = 0
    for line in lines:
        extra = line.members.get("reserve_pool_size", line.members.get("reserve_pool", reserve))
        each = (count(line.members.get("pool_size")) or count(ini.setting("default_pool_size")) or 20) + count(extra)
        total += _cap(ini, line) or each * (1 if "user" in line.members else max(1, users))
    return min(max(total, len(lines)), MOST)


def _cap(ini: IniFile, line: Line) -> int:
    """The limit of a database; 0 means none."""
    return count(line.members.get("max_db_connections", ini.setting("max_db_connections")))


def _server(line: Line, result: Conversion) -> SourceServer:
    hosts = [each.strip() for each in line.members.get("host", "").split(",")]
    if len(hosts) > 1:
        message = f"{line.name} has several hosts: a pool leads to one server, here to the first."
        result.remark(line.place, f"{message} Use the Service that follows the primary.")
    host, port = hosts[0], line.members.get("port", "5432").split(",")[0]
    if host != PLACEHOLDER and _is_here(host):
        message = f"{line.name} has its server on PgBouncer's own machine, which a pod is not: put the server's host in"
        result.remark(line.place, f"{message} place of {PLACEHOLDER} in spec.backend.")
        host = PLACEHOLDER
    return SourceServer(host, count(port) or 5432)


def _is_here(host: str) -> bool:
    """Whether the host is the machine itself: none, a directory of sockets, or a loopback address."""
    if not host or host[0] in "/@" or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
