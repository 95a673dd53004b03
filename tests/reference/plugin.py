"""The commands of `kubectl pgbouncer`."""

from typing import Any

import typer
from tests.reference.markdown import code, table

from pgbouncer_operator.plugin import commands as plugin


def commands() -> str:
    """The options before a command, then a heading, the meaning and a table of arguments for each command."""
    group: Any = typer.main.get_command(plugin.app)
    parts = ["Before a command:", _arguments(group)]
    for name, command in group.commands.items():
        parts += [f"### `{name}`", " ".join(command.help.split())]
        parts += [table] if (table := _arguments(command)) else []
    return "\n\n".join(parts)


def _arguments(command: Any) -> str:
    rows = [
        (code(", ".join(each.opts) if each.param_type_name == "option" else each.metavar), _default(each), each.help)
        for each in command.params
        if not each.name.endswith("_completion")
    ]
    return table(("argument", "default", "meaning"), rows) if rows else ""


def _default(parameter: Any) -> str:
    default = parameter.default
    return "" if default in (None, False) else code(str(default))
