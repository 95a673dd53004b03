"""Commands that need no cluster: check a manifest, render a pool's objects and files, print the CRDs. Pure."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from pgbouncer_operator import admission, manifest, naming
from pgbouncer_operator.api import crd as crd_pool
from pgbouncer_operator.api import crd_server
from pgbouncer_operator.api.connection_pool import ConnectionPool, FieldProblem, InvalidSpec
from pgbouncer_operator.api.definition import to_yaml
from pgbouncer_operator.api.postgres_server import PostgresServer
from pgbouncer_operator.pgbouncer import hba, ini, userlist
from pgbouncer_operator.pgbouncer.composition import Composition, UserEntry, entries
from pgbouncer_operator.protocol import grants
from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.reconcile.server import membership
from pgbouncer_operator.resources import backend_secret, connection_secret
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.resources.desired import Desired, desired, dress
from pgbouncer_operator.resources.grants import grants_config_map
from pgbouncer_operator.resources.login import Login

ENDPOINT_DELAY = 5  # seconds; the chart's default


@dataclass(frozen=True, slots=True)
class Result:
    """The output of a command."""

    text: str
    """What goes to standard output; complete lines, or empty."""
    problems: tuple[str, ...]
    """What is wrong with the manifest: one sentence for each problem, for standard error."""


def check(text: str | bytes) -> Result:
    """Check every pool and PostgresServer of a manifest: one line for each valid object, one sentence for each problem.

    text: YAML documents and lists. Objects of other groups are skipped.
    """
    found = _read(text)
    lines, problems = [], list(found.problems)
    for name, server in found.servers:
        if isinstance(server, InvalidSpec):
            problems += [f"{name}: {problem}" for problem in server.problems]
        else:
            lines.append(f"{name}: {_server_summary(server)}\n")
    for name, pool in found.pools:
        if isinstance(pool, InvalidSpec):
            problems += [f"{name}: {problem}" for problem in pool.problems]
            continue
        if unresolved := _unresolved(pool):
            lines.append(f"{name}: ok, {unresolved[0]}\n")
            continue
        objects_of_pool = desired(pool, _platform(""))
        if objects_of_pool.fit.shortage:
            problems.append(f"{name}: {objects_of_pool.fit.shortage}")
        else:
            lines.append(f"{name}: {_pool_summary(pool, objects_of_pool)}\n")
    if not lines and not problems:
        kinds = f"{naming.KIND} and no {naming.SERVER_KIND}"
        problems.append(f"The manifest holds no {kinds} of {naming.API_VERSION}.")
    return Result("".join(lines), tuple(problems))


def render(text: str | bytes, image: str) -> Result:
    """Render every pool of a manifest: each object as YAML, then the files of one pod as comments.

    text: YAML documents and lists, with the PostgresServers and the Secrets of servers that the pools refer to.
    image: image of the pods. Logins and passwords are placeholders.
    """
    found = _read(text)
    parts, problems = [], list(found.problems)
    for name, pool in found.pools:
        if isinstance(pool, InvalidSpec):
            problems += [f"{name}: {problem}" for problem in pool.problems]
            continue
        if unresolved := _unresolved(pool):
            problems.append(f"{name}: add {unresolved[1]} to the manifest.")
            continue
        objects_of_pool = desired(pool, _platform(image))
        parts += [_yaml(each) for each in objects(pool, objects_of_pool)]
        parts += [_comment(file, text) for file, text in files(objects_of_pool).items()]
    if not parts and not problems:
        problems.append(f"The manifest holds no {naming.KIND} of {naming.API_VERSION}.")
    return Result("".join(f"---\n{part}" for part in parts), tuple(problems))


def objects(pool: ConnectionPool, wanted: Desired) -> list[dict[str, Any]]:
    """Every object of a pool before its first pod exists, with placeholder logins in the connection Secrets."""
    no_grants = Grants(seq=1, static=wanted.fit.static, pods={})
    bodies = [
        wanted.config_map,
        dress(pool, grants_config_map(pool.metadata.name, no_grants)),
        wanted.service,
        wanted.pod_disruption_budget,
        wanted.deployment,
    ]
    for entry in connection_secret.connection_secrets(pool):
        login = Login(f"<login of {entry.user}>", f"<password of {entry.user}>")
        bodies.append(dress(pool, connection_secret.connection_secret(pool, entry, login)))
    return bodies


def files(wanted: Desired) -> dict[str, str]:
    """The files of one pod by name, rendered with an equal part of the pool's size. Empty if no pod fits."""
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
    return "".join(to_yaml(each) for each in (crd_pool.render(), crd_server.render()))


@dataclass(frozen=True, slots=True)
class _Found:
    """The objects of a manifest that are ours, each with its name for messages."""

    pools: tuple[tuple[str, ConnectionPool | InvalidSpec], ...]
    servers: tuple[tuple[str, PostgresServer | InvalidSpec], ...]
    problems: tuple[str, ...]


def _read(text: str | bytes) -> _Found:
    """The pools and servers of a manifest. A pool that refers to one of the servers has its address and size."""
    read = manifest.read(text)
    pools: list[tuple[str, ConnectionPool | InvalidSpec]] = []
    servers: list[tuple[str, PostgresServer | InvalidSpec]] = []
    problems = list(read.problems)
    for body in filter(admission.ours, read.objects):
        name, judged = _name(body), admission.judged(body)
        if body["kind"] == naming.SERVER_KIND and not isinstance(judged, ConnectionPool):
            servers.append((f"{_namespace(body)}/{name}", judged))
        elif body["kind"] == naming.KIND and not isinstance(judged, PostgresServer):
            pools.append((name, judged))
        elif isinstance(judged, InvalidSpec):
            problems += [f"{name}: {problem}" for problem in judged.problems]
    valid = {
        (each.metadata.namespace, each.metadata.name): each for _, each in servers if isinstance(each, PostgresServer)
    }
    secrets = {(_namespace(body), _name(body)): _stored(body) for body in read.objects if body["kind"] == "Secret"}
    named = [(name, pool if isinstance(pool, InvalidSpec) else _named(pool, secrets)) for name, pool in pools]
    resolved = tuple((name, pool if isinstance(pool, InvalidSpec) else _resolved(pool, valid)) for name, pool in named)
    return _Found(resolved, tuple(servers), tuple(problems))


def _unresolved(pool: ConnectionPool) -> tuple[str, str] | None:
    """Who names the pool's server, and what the manifest lacks to know it; None where it is known."""
    backend, spec = pool.spec.backend, pool.spec
    if backend.server_ref is not None and backend.host is None:
        lack = "the PostgresServer of backend.serverRef"
        return "a PostgresServer allocates its server connections", f"{lack}, with connections.max,"
    if backend.host is None or not spec.databases or not spec.users:
        return "its Secret names the server", "the Secret of backend.secretRef"
    return None


def _named(pool: ConnectionPool, secrets: Mapping[tuple[str, str], Mapping[str, Any]]) -> ConnectionPool | InvalidSpec:
    """The pool with the server that its Secret names, if the manifest has the Secret."""
    reference = pool.spec.backend.secret_ref
    body = secrets.get((pool.metadata.namespace, reference.name)) if reference else None
    if body is None:
        return pool
    try:
        return backend_secret.with_server(pool, backend_secret.read_server(pool.spec, body))
    except backend_secret.ServerUnavailable as error:
        return InvalidSpec([FieldProblem("spec.backend.secretRef", str(error))])
    except InvalidSpec as error:
        return error


def _stored(secret: Mapping[str, Any]) -> dict[str, Any]:
    """A Secret as the API server stores it: `stringData` goes into `data`, in base64."""
    plain, data = secret.get("stringData"), secret.get("data")
    texts = plain.items() if isinstance(plain, Mapping) else ()
    encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in texts}
    stored = {key: value for key, value in data.items() if isinstance(value, str)} if isinstance(data, Mapping) else {}
    return {"data": stored | encoded}


def _resolved(pool: ConnectionPool, servers: Mapping[tuple[str, str], PostgresServer]) -> ConnectionPool | InvalidSpec:
    """The pool with its server's address and the largest size that the server may allocate.

    Unchanged if the pool has no serverRef, or if the manifest has no valid server of that name with a number.
    """
    reference = pool.spec.backend.server_ref
    server = servers.get((reference.namespace or pool.metadata.namespace, reference.name)) if reference else None
    if server is None:
        return pool
    share = server.spec.share_of(pool.metadata.namespace).max
    bounds = (pool.spec.server_connections.max, share, server.spec.connections.budget)
    return pool if bounds == (None, None, None) else membership.effective(pool, server)


def _server_summary(server: PostgresServer) -> str:
    if server.spec.connections.budget is not None:
        return f"ok, pools share {server.spec.connections.budget} server connections"
    if server.spec.monitoring:
        return "ok, pools share what the server's max_connections leaves, which the operator reads"
    return "ok, but pools get no connections until connections.max or monitoring.secretRef is set"


def _platform(image: str) -> Platform:
    return Platform(image, "IfNotPresent", ENDPOINT_DELAY)


def _name(body: Mapping[str, Any]) -> str:
    metadata = body.get("metadata")
    return str(metadata.get("name", "?")) if isinstance(metadata, Mapping) else "?"


def _namespace(body: Mapping[str, Any]) -> str:
    metadata = body.get("metadata")
    return str(metadata.get("namespace") or "default") if isinstance(metadata, Mapping) else "default"


def _pool_summary(pool: ConnectionPool, wanted: Desired) -> str:
    most, pods = pool.spec.server_connections.most, wanted.fit.replicas
    return f"ok, {'1 pod has' if pods == 1 else f'{pods} pods share'} {most} server connections"


def _yaml(body: Mapping[str, Any]) -> str:
    return yaml.dump(body, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def _comment(name: str, text: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in (f"file {name} of one pod:", *text.splitlines()))


class _Dumper(yaml.SafeDumper):
    """Writes strings of several lines as blocks and never an alias, because people read the output."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value in full each time it appears."""
        del data
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _block)
