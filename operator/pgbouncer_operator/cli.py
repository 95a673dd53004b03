"""The command line: arguments only. Each command imports what it needs: the pool's image holds less than ours."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pgbouncer_operator import __version__
from pgbouncer_operator.pgbouncer import lookup


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code: 0 done, 1 the input is wrong, 2 the arguments are."""
    parsed = parser().parse_args(arguments)
    match parsed.command:
        case "run":
            return _run()
        case "agent":
            return _agent(parsed.arguments)
        case "drain":
            return _drain(parsed.arguments)
        case "render" | "check":
            return _offline(parsed)
        case "auth-query-sql":
            return _auth_query_sql(parsed.role, parsed.schema)
    return _fact(parsed.command)


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    found = argparse.ArgumentParser(prog="pgbouncer-operator", description="PgBouncer pools on Kubernetes.")
    commands = found.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("run", help="run the operator (settings come from PGBOUNCER_OPERATOR_* variables)")
    agent = commands.add_parser("agent", help="run the agent beside PgBouncer", add_help=False)
    agent.add_argument("arguments", nargs=argparse.REMAINDER)
    drain = commands.add_parser("drain", help="drain this pod's PgBouncer, then return", add_help=False)
    drain.add_argument("arguments", nargs=argparse.REMAINDER)
    render = commands.add_parser("render", help="print every object and file of the pools in a manifest")
    render.add_argument("manifest", type=argparse.FileType("r"), help="YAML file, - for standard input")
    render.add_argument("--pool-image", default="pgbouncer-operator/pool:" + __version__, help="image of the pods")
    check = commands.add_parser("check", help="check the pools in a manifest, with the API server's messages")
    check.add_argument("manifest", type=argparse.FileType("r"), help="YAML file, - for standard input")
    commands.add_parser("crd", help="print the CustomResourceDefinition")
    query = commands.add_parser("auth-query-sql", help="print the SQL that installs the function for spec.authQuery")
    query.add_argument("--role", default=lookup.ROLE, help="who may look up (default: %(default)s)")
    query.add_argument("--schema", default=lookup.SCHEMA, help="where the function goes (default: %(default)s)")
    commands.add_parser("version", help="print the version")
    return found


def _run() -> int:
    from pgbouncer_operator.app import run
    from pgbouncer_operator.settings import Settings, SettingsError

    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    return run(settings, Path(os.environ["KUBECONFIG"]) if "KUBECONFIG" in os.environ else None)


def _agent(arguments: Sequence[str]) -> int:
    from pgbouncer_operator.agent import supervisor

    return supervisor.main(arguments)


def _drain(arguments: Sequence[str]) -> int:
    from pgbouncer_operator.agent import drain

    return int(drain.main(list(arguments)))


def _offline(parsed: argparse.Namespace) -> int:
    from pgbouncer_operator import offline

    text: str = parsed.manifest.read()
    result = offline.render(text, parsed.pool_image) if parsed.command == "render" else offline.check(text)
    print(result.text, end="")
    for problem in result.problems:
        print(problem, file=sys.stderr)
    return 1 if result.problems else 0


def _fact(command: str) -> int:
    """Print what takes no arguments: the definition, or the version."""
    if command == "crd":
        from pgbouncer_operator import offline

        print(offline.crd(), end="")
    else:
        print(__version__)
    return 0


def _auth_query_sql(role: str, schema: str) -> int:
    try:
        print(lookup.install(role, schema), end="")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
