"""A pgbouncer.ini with its userlist.txt as ConnectionPools: one for each server that it leads to. Pure."""

import copy

from pgbouncer_operator.conversion import databases, ini_file, logins, settings
from pgbouncer_operator.conversion.result import Body, Conversion, pool

ORDER = (
    "backend",
    "databases",
    "users",
    "authQuery",
    "poolMode",
    "serverConnections",
    "clients",
    "timeouts",
    "replicas",
    "parameters",
    "service",
)


def convert(text: str, userlist: str, name: str) -> Conversion:
    """The pools, their Secrets, and what cannot be kept.

    text: of pgbouncer.ini. userlist: of userlist.txt, or empty. name: of the pool; of the first one of several.
    """
    result = Conversion()
    ini, entries = ini_file.read(text, result), ini_file.read_userlist(userlist, result)
    servers = databases.by_server(ini, result)
    found = logins.convert(ini, entries, name, result)
    common: Body = {"users": found.users}
    settings.convert(ini.settings, common, result)
    settings.service(ini, common)
    settings.server_tls(ini, name, common, result)
    settings.client_tls(ini, name, common, result)
    for line in ini.peers:
        result.remark(line.place, "[peers] is the operator's: it numbers the pods itself.")
    for number, (server, lines) in enumerate(servers.items(), start=1):
        spec = copy.deepcopy(common)
        spec["backend"] = {"host": server.host, "port": server.port, **spec.get("backend", {})}
        spec["databases"] = databases.convert(ini, lines, result)
        logins.look_up(ini, found, entries, [each["name"] for each in spec["databases"]], spec)
        most = databases.connections(ini, lines, len(found.users))
        spec["serverConnections"] = {"max": most}
        if len(lines) == 1:
            spec["databases"][0].pop("serverConnections", None)  # it is the pool's own limit
        own = name if number == 1 else f"{name}-{number}"
        _remark_on_size(own, most, result)
        result.pools.append(pool(own, None, ordered(spec)))
    if len(servers) > 1:
        message = "A pool leads to one server, so there are several pools. Each has every login: remove those that its"
        result.remark(ini_file.INI, f"{message} server does not have.")
    return result


def ordered(spec: Body) -> Body:
    """The spec with its fields in the order in which people read them."""
    return {field: spec[field] for field in ORDER if field in spec}


def _remark_on_size(name: str, most: int, result: Conversion) -> None:
    message = (
        f"serverConnections.max of {name} is {most}, what one process of PgBouncer could open. It is for all pods "
        "together: compare it with what the server accepts."
    )
    result.remark(ini_file.INI, message)
