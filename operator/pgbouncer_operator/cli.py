"""The command line: parses arguments and calls what they name.

Each command imports its own modules, because the pool's image has no kopf, kubernetes, pydantic or aiohttp.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pgbouncer_operator import __version__
from pgbouncer_operator.pgbouncer import lookup


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code: 0 success, 1 a failure or a faulty manifest, 2 bad usage."""
    parsed = parser().parse_args(arguments)
    match parsed.command:
        case "run":
            return _run()
        case "agent":
            return _agent(parsed.arguments)
        case "render" | "check":
            return _offline(parsed)
        case "auth-query-sql":
            return _auth_query_sql(parsed.role, parsed.schema)
        case "crd":
            return _crd()
    print(__version__)
    return 0


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments, which operator/docs/reference lists."""
    program = argparse.ArgumentParser(prog="pgbouncer-operator", description="PgBouncer pools on Kubernetes.")
    commands = program.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("run", help="run the operator; it reads its settings from PGBOUNCER_OPERATOR_* variables")
    agent = commands.add_parser("agent", help="run the agent of a pool's pod", add_help=False)
    agent.add_argument("arguments", nargs=argparse.REMAINDER)
    render = commands.add_parser("render", help="print the objects and files of every pool in a manifest")
    render.add_argument("manifest", type=argparse.FileType("rb"), help="YAML file; - reads standard input")
    image = f"pgbouncer-operator/pool:{__version__}"
    render.add_argument("--pool-image", default=image, help="image of the pods (default: %(default)s)")
    check = commands.add_parser("check", help="check the pools of a manifest, with the API server's messages")
    check.add_argument("manifest", type=argparse.FileType("rb"), help="YAML file; - reads standard input")
    commands.add_parser("crd", help="print the CustomResourceDefinitions")
    query = commands.add_parser("auth-query-sql", help="print the SQL that creates the function for spec.authQuery")
    query.add_argument("--role", default=lookup.ROLE, help="role that may call the function (default: %(default)s)")
    query.add_argument("--schema", default=lookup.SCHEMA, help="schema of the function (default: %(default)s)")
    commands.add_parser("version", help="print the version")
    return program


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


def _offline(parsed: argparse.Namespace) -> int:
    from pgbouncer_operator import offline

    text: bytes = parsed.manifest.read()
    result = offline.render(text, parsed.pool_image) if parsed.command == "render" else offline.check(text)
    print(result.text, end="")
    for problem in result.problems:
        print(problem, file=sys.stderr)
    return 1 if result.problems else 0


def _crd() -> int:
    from pgbouncer_operator import offline

    print(offline.crd(), end="")
    return 0


def _auth_query_sql(role: str, schema: str) -> int:
    try:
        print(lookup.install(role, schema), end="")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
