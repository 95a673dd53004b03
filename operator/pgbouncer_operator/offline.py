"""What can be said of a pool without a cluster: its objects and files, its faults, and the CRD. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from pgbouncer_operator import naming
from pgbouncer_operator.api import crd as definition
from pgbouncer_operator.api import crd_server
from pgbouncer_operator.api.connection_pool import ConnectionPool, InvalidSpec
from pgbouncer_operator.api.parameters import Audience, ParameterRule, ParameterType
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.api.postgres_server import parse as parse_server
from pgbouncer_operator.pgbouncer import hba, ini, parameters, userlist
from pgbouncer_operator.pgbouncer.composition import Composition, UserEntry, entries
from pgbouncer_operator.protocol import grants
from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.reconcile.server import membership
from pgbouncer_operator.reconcile.specification import read
from pgbouncer_operator.resources import connection_secret
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.resources.desired import Desired, desired, dress
from pgbouncer_operator.resources.grants import grants_config_map

PLACEHOLDER_UID = "00000000-0000-0000-0000-000000000000"
ENDPOINT_DELAY = 5


@dataclass(frozen=True, slots=True)
class Result:
    """What to print, and what is wrong: sentences for standard error."""

    text: str
    problems: tuple[str, ...]


def check(manifest: str) -> Result:
    """One line for each pool that is right, one sentence for each fault."""
    lines, problems = [], []
    servers = _servers(manifest)
    for key, server in servers.items():
        if isinstance(server, InvalidSpec):
            problems += [f"{'/'.join(key)}: {problem}" for problem in server.problems]
        else:
            lines.append(f"{'/'.join(key)}: {_shared(server)}\n")
    for body in _pools(manifest):
        name = _name(body)
        pool = _resolved(_read(body), servers)
        if isinstance(pool, InvalidSpec):
            problems += [f"{name}: {problem}" for problem in pool.problems]
            continue
        if pool.spec.backend.host is None:
            lines.append(f"{name}: ok, its connections are its share of a PostgresServer\n")
            continue
        wanted = desired(pool, _platform(""))
        if wanted.fit.shortage:
            problems.append(f"{name}: {wanted.fit.shortage}")
        else:
            lines.append(f"{name}: ok, {_summary(pool, wanted)}\n")
    if not lines and not problems:
        problems.append(f"The manifest holds no {naming.KIND} of {naming.API_VERSION}.")
    return Result("".join(lines), tuple(problems))


def render(manifest: str, image: str) -> Result:
    """Every object as YAML, then the files of one pod as comments; logins and passwords are placeholders."""
    parts, problems = [], []
    servers = _servers(manifest)
    for body in _pools(manifest):
        pool = _resolved(_read(body), servers)
        if isinstance(pool, ConnectionPool) and pool.spec.backend.host is None:
            problems.append(
                f"{_name(body)}: put the PostgresServer that it refers to into the manifest, too, with connections.max."
            )
            continue
        if isinstance(pool, InvalidSpec):
            problems += [f"{_name(body)}: {problem}" for problem in pool.problems]
            continue
        wanted = desired(pool, _platform(image))
        parts += [_yaml(each) for each in objects(pool, wanted)]
        parts += [_comment(name, text) for name, text in files(wanted).items()]
    if not parts and not problems:
        problems.append(f"The manifest holds no {naming.KIND} of {naming.API_VERSION}.")
    return Result("".join(f"---\n{part}" for part in parts), tuple(problems))


def objects(pool: ConnectionPool, wanted: Desired) -> list[dict[str, Any]]:
    """Every object of a pool at rest, with placeholders for what only a cluster knows."""
    ledger = Grants(seq=1, static=wanted.fit.static, pods={})
    bodies = [
        wanted.config_map,
        dress(pool, grants_config_map(pool.metadata.name, ledger)),
        wanted.service,
        wanted.pod_disruption_budget,
        wanted.deployment,
    ]
    for entry in connection_secret.connection_secrets(pool):
        login = connection_secret.Login(f"<login of {entry.user}>", f"<password of {entry.user}>")
        bodies.append(dress(pool, connection_secret.connection_secret(pool, entry, login)))
    return bodies


def files(wanted: Desired) -> dict[str, str]:
    """The files of one pod that holds its share, by name. Empty where not even one pod fits."""
    cap = wanted.fit.static * (wanted.fit.replicas + wanted.fit.surge) // max(1, wanted.fit.replicas)
    if cap < wanted.fit.floor:
        return {}
    logins = [UserEntry(f"<login of {each.name}>", "<password>", each.max) for each in wanted.intent.users]
    lookup = "<login of authQuery>" if wanted.intent.auth_query else ""
    if lookup:
        logins.append(UserEntry(lookup, "<password>"))
    composition = Composition(
        intent=wanted.intent,
        shares=grants.split(cap, [(each.name, each.max) for each in entries(wanted.intent)]),
        seq=1,
        logins=tuple(logins),
        credentials="",
        stats_user="random",
        lookup=lookup,
    )
    return {
        "pgbouncer.ini": ini.render(composition),
        "userlist.txt": userlist.render([(each.login, each.password) for each in composition.logins]),
        "hba.conf": hba.render(composition.stats_user),
    }


def crd() -> str:
    """The CustomResourceDefinitions as YAML."""
    return "".join(definition.to_yaml(each) for each in (definition.render(parameter_rules()), crd_server.render()))


def parameter_rules() -> tuple[ParameterRule, ...]:
    """The catalogue as the API needs it: the two packages do not know each other."""
    return tuple(
        ParameterRule(
            name=row.name,
            type=ParameterType(row.type.value),
            minimum=row.minimum,
            maximum=row.maximum,
            choices=row.choices,
            field=row.field,
            audience=Audience(row.audience.value),
        )
        for row in parameters.CATALOGUE
    )


def _pools(manifest: str) -> Iterator[Mapping[str, Any]]:
    for body in yaml.safe_load_all(manifest):
        if isinstance(body, Mapping) and body.get("kind") == naming.KIND:
            yield body


def _servers(manifest: str) -> dict[tuple[str, str], PostgresServer | InvalidSpec]:
    """The PostgresServers of the manifest by namespace and name."""
    found: dict[tuple[str, str], PostgresServer | InvalidSpec] = {}
    for body in yaml.safe_load_all(manifest):
        if isinstance(body, Mapping) and body.get("kind") == naming.SERVER_KIND:
            given = body.get("metadata")
            metadata = {"namespace": "default", **(given if isinstance(given, Mapping) else {})}
            key = (str(metadata["namespace"]), _name(body))
            try:
                found[key] = parse_server({**body, "metadata": metadata})
            except InvalidSpec as error:
                found[key] = error
    return found


def _resolved(
    pool: ConnectionPool | InvalidSpec, servers: Mapping[tuple[str, str], PostgresServer | InvalidSpec]
) -> ConnectionPool | InvalidSpec:
    """The pool with what its server adds, as if it had all it may have; as it is where the server is not there."""
    reference = pool.spec.backend.server_ref if isinstance(pool, ConnectionPool) else None
    if isinstance(pool, InvalidSpec) or reference is None:
        return pool
    server = servers.get((reference.namespace or pool.metadata.namespace, reference.name))
    if server is None or isinstance(server, InvalidSpec):
        return pool
    share = server.spec.share_of(pool.metadata.namespace).max
    known = (pool.spec.server_connections.max, share, server.spec.connections.budget)
    return pool if known == (None, None, None) else membership.effective(pool, server)


def _shared(server: PostgresServer) -> str:
    connections, read = server.spec.connections, server.spec.monitoring
    if connections.budget is not None:
        return f"ok, pools share {connections.budget} server connections"
    return f"ok, pools share what the server takes, {'which is read' if read else 'once connections.max says it'}"


def _read(body: Mapping[str, Any]) -> ConnectionPool | InvalidSpec:
    given = body.get("metadata")
    metadata = {"namespace": "default", "uid": PLACEHOLDER_UID, **(given if isinstance(given, Mapping) else {})}
    try:
        return read({**body, "metadata": metadata})
    except InvalidSpec as error:
        return error


def _platform(image: str) -> Platform:
    return Platform(image, "IfNotPresent", ENDPOINT_DELAY)


def _name(body: Mapping[str, Any]) -> str:
    metadata = body.get("metadata")
    return str(metadata.get("name", "?")) if isinstance(metadata, Mapping) else "?"


def _summary(pool: ConnectionPool, wanted: Desired) -> str:
    most, pods = pool.spec.server_connections.most, wanted.fit.replicas
    return f"{pods} pods share {most} server connections"


def _yaml(body: Mapping[str, Any]) -> str:
    return yaml.dump(body, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def _comment(name: str, text: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in (f"file {name} of one pod:", *text.splitlines()))


class _Dumper(yaml.SafeDumper):
    """Long strings as blocks, and no anchors: people read this."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write every part out."""
        del data
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _block)
