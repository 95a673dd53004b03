"""The generated tables of operator/docs, between `<!-- generated: NAME -->` and `<!-- /generated -->`."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.nemesis import kinds
from tests.reference import (
    clients,
    commands,
    conditions,
    fields,
    metrics,
    names,
    plugin,
    settings,
    simulations,
    support,
)

DOCS = Path("operator/docs")
Tables = Mapping[str, Callable[[], str]]
TABLES: Tables = {
    "alerts": metrics.alerts,
    "annotations": names.annotations,
    "clients": clients.clients,
    "clients-cases": clients.cases,
    "clients-others": clients.others,
    "commands": commands.commands,
    "conditions": conditions.types,
    "labels": names.labels,
    "metrics-operator": metrics.of_operator,
    "metrics-pod": metrics.of_pod,
    "nemesis": kinds.table,
    "objects": names.objects,
    "plugin": plugin.commands,
    "pool-spec": fields.pool_spec,
    "pool-status": fields.pool_status,
    "ports": names.ports,
    "reasons": conditions.reasons,
    "server-spec": fields.server_spec,
    "server-status": fields.server_status,
    "settings": settings.free,
    "settings-reserved": settings.reserved,
    "simulations": simulations.figures,
    "variables": commands.variables,
    "versions": support.versions,
}

_BEGIN, _END = "<!-- generated: ", "<!-- /generated -->"
_MARKED = re.compile(r"<!-- generated: ([\w-]+) -->\n(.*?)<!-- /generated -->", re.DOTALL)


def pages(root: Path, tables: Tables = TABLES) -> dict[Path, str]:
    """Every page below `root`/operator/docs that has a generated table, relative to `root`, as it should read.

    ValueError: a marker has no end or names no table, or a table's source is incomplete.
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
