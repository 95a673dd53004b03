"""The command line, and the operator's environment variables."""

import argparse
import re
from collections.abc import Iterator, Mapping

from tests.reference.markdown import code, table

from pgbouncer_operator import cli
from pgbouncer_operator.settings import Settings, SettingsError

# What each variable decides, by its name without the prefix.
MEANINGS = {
    "POOL_IMAGE": "Image of the pools' pods.",
    "NAMESPACE": "Namespace of the operator: its lease is there.",
    "IDENTITY": "Name of this replica in the lease.",
    "WATCH_NAMESPACES": "Namespaces to watch, with commas between. Empty: all.",
    "SERVER_HOSTS": "PostgresServers by host, as `host:port=namespace/name` with commas between.",
    "IMAGE_PULL_POLICY": "When the kubelet pulls the pools' image.",
    "IMAGE_PULL_SECRETS": "Secrets for pulling the pools' image, with commas between, in each pool's namespace.",
    "ENDPOINT_DELAY_SECONDS": "How long a leaving pod listens after its last new client, in seconds.",
    "CONNECTION_SECRETS": "`false`: the operator reads and writes no Secret.",
    "CLIENT_WORKLOADS": "`false`: the operator lists no workloads, so no pool can follow them.",
    "LEADER_ELECTION": "`false`: this process leads without a lease. Run one only.",
    "WORKERS": "Pools that are reconciled side by side.",
    "HTTP_PORT": "Port of `/metrics`, `/livez` and `/readyz`.",
    "LOG_LEVEL": "Lowest level that is logged.",
    "LOG_FORMAT": "Form of a log line.",
    "RESYNC_SECONDS": "Each pool is looked at at least this often, in seconds.",
}
PREFIX = "PGBOUNCER_OPERATOR_"


def commands() -> str:
    """A heading, the usage and a table of arguments for each command."""
    parser = cli.parser()
    (choices,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    about = {each.dest: each.help or "" for each in choices._choices_actions}
    parts = []
    for name, command in choices.choices.items():
        parts += [f"### `{name}`", f"{about[name][:1].upper()}{about[name][1:]}."]
        rows = [
            (code(", ".join(each.option_strings) or each.dest), code(each.default), _help(each))
            for each in command._actions
            if each.help and not isinstance(each, argparse._HelpAction)
        ]
        parts += [table(("argument", "default", "meaning"), rows)] if rows else []
    return "\n\n".join(parts)


def _help(action: argparse.Action) -> str:
    return re.sub(r" \(default: .*\)$", "", action.help or "")


class _Asked(Mapping[str, str]):
    """An environment that keeps what it was asked for: the name and the default of each variable."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.defaults: dict[str, str | None] = {}
        self._given = given

    def __getitem__(self, name: str) -> str:
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """As a dictionary's."""
        self.defaults[name] = default
        return self._given.get(name, default)


def variables() -> str:
    """Every variable of `run`. ValueError names those without a meaning, and meanings without a variable."""
    image = {f"{PREFIX}POOL_IMAGE": "pool:1"}
    asked = _Asked(image)
    Settings.from_environment(asked)
    names = [name.removeprefix(PREFIX) for name in asked.defaults]
    if wrong := sorted(set(names) ^ MEANINGS.keys()):
        raise ValueError(f"tests/reference/commands.py: {', '.join(wrong)} is a variable or a meaning, not both.")
    rows = [
        (
            code(PREFIX + name),
            _values(image, PREFIX + name),
            "required" if asked.defaults[PREFIX + name] is None else code(asked.defaults[PREFIX + name]) or "empty",
            MEANINGS[name],
        )
        for name in names
    ]
    return table(("variable", "values", "default", "meaning"), rows)


def _values(image: Mapping[str, str], name: str) -> str:
    """What the variable may be, as the complaint about a wrong value says it."""
    try:
        Settings.from_environment({**image, name: "-"})
    except SettingsError as error:
        return str(error).partition(": give ")[2].removesuffix(".")
    return "text"
