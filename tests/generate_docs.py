"""The generated tables of operator/docs, between `<!-- generated: NAME -->` and `<!-- /generated -->`."""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pgbouncer_operator.api.conditions import REMEDIES
from pgbouncer_operator.pgbouncer import parameters
from pgbouncer_operator.pgbouncer.parameter import Audience, Parameter, Type

CLIENTS = Path(__file__).with_name("generate_docs_clients.toml")
DOCS = Path("operator/docs")
Tables = Mapping[str, Callable[[], str]]

_BEGIN, _END = "<!-- generated: ", "<!-- /generated -->"
_MARKED = re.compile(r"<!-- generated: ([\w-]+) -->\n(.*?)<!-- /generated -->", re.DOTALL)


def parameter_table(rows: Iterable[Parameter] = parameters.CATALOGUE) -> str:
    """The settings that a pool may put in spec.parameters, by name."""
    lines = ["| parameter | values | default | a change takes effect by | meaning |", "|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda each: each.name):
        if row.audience is Audience.USER:
            cells = (f"`{row.name}`", _values(row), _default(row), row.change.value, row.help)
            lines.append(f"| {' | '.join(each.replace('|', chr(92) + '|') for each in cells)} |")
    return "\n".join(lines)


def condition_table() -> str:
    """Every reason of a condition, with what its reader should do."""
    return _table(("reason", "what to do"), [(f"`{reason}`", remedy) for reason, remedy in REMEDIES.items()])


def client_table(path: Path = CLIENTS) -> str:
    """Clients behind transaction pooling, and which of them our tests run through a pool."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["client"]
    cells = [(row["name"], "tested" if row.get("tested") else "untested", row["defaults"], row["also"]) for row in rows]
    return _table(("client", "by us", "with its defaults", "also"), cells)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))


TABLES: Tables = {"clients": client_table, "conditions": condition_table, "parameters": parameter_table}


def pages(root: Path, tables: Tables = TABLES) -> dict[Path, str]:
    """Every page below `root`/operator/docs that has a generated table, relative to `root`, as it should read.

    ValueError: a marker has no end, or names no table.
    """
    texts = {page.relative_to(root): page.read_text(encoding="utf-8") for page in sorted((root / DOCS).rglob("*.md"))}
    return {page: filled(page, text, tables) for page, text in texts.items() if _BEGIN in text or _END in text}


def filled(page: Path, text: str, tables: Tables = TABLES) -> str:
    """The text of a page with the current content in every marked table. ValueError: see `pages`."""
    if not len(_MARKED.findall(text)) == text.count(_BEGIN) == text.count(_END):
        raise ValueError(f"{page}: every <!-- generated: NAME --> needs its own {_END}, each on a line.")

    def table(found: re.Match[str]) -> str:
        name = found[1]
        if name not in tables:
            known = ", ".join(sorted(tables))
            raise ValueError(f"{page}: <!-- generated: {name} --> names no table. There are: {known}.")
        return f"<!-- generated: {name} -->\n\n{tables[name]()}\n\n{_END}"

    return _MARKED.sub(table, text)


def _values(row: Parameter) -> str:
    match row.type:
        case Type.INT | Type.TIME:
            unit = " s" if row.type is Type.TIME else ""
            return f"{row.minimum} … {row.maximum}{unit}"
        case Type.ENUM | Type.CSV if row.choices:
            return ", ".join(f"`{each}`" for each in row.choices)
        case _:
            return row.type.value


def _default(row: Parameter) -> str:
    """What a pool gets that says nothing. Ours may be a rule, in words."""
    if row.ours is not None and " " in row.ours:
        return row.ours
    default = row.default if row.ours is None else row.ours
    return f"`{default}`" if default else "–"
