"""The generated tables of README.md, between `<!-- generated: NAME -->` and `<!-- /generated -->`."""

import re
from collections.abc import Callable, Iterable, Mapping

from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.pgbouncer.parameter import Audience, Parameter

_MARKED = re.compile(r"(?P<open><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<close><!-- /generated -->)", re.DOTALL)


def parameter_table(rows: Iterable[Parameter] = parameters.CATALOGUE) -> str:
    raise NotImplementedError


TABLES: Mapping[str, Callable[[], str]] = {"parameters": parameter_table}


def filled(text: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """The text with every marked table made anew. ValueError names a marker that no table answers to."""

    def table(found: re.Match[str]) -> str:
        if found["name"] not in tables:
            known = ", ".join(sorted(tables))
            raise ValueError(f"README.md: no table is named {found['name']!r} in a marker; there are: {known}.")
        return f"{found['open']}\n{tables[found['name']]()}\n{found['close']}"

    opened = text.count("<!-- generated: ")
    if opened != len(_MARKED.findall(text)) or opened != text.count("<!-- /generated -->"):
        raise ValueError("README.md: a marker <!-- generated: NAME --> is not followed by its <!-- /generated -->.")
    return _MARKED.sub(table, text)
