"""Writes what a command found: tables and lines for people, JSON for programs.

What others wrote, such as the words of PostgreSQL in a condition, cannot steer the terminal: control characters and
marks of rich's own markup are text.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgbouncer_operator.plugin.clients import COLUMNS as CLIENTS_COLUMNS
from pgbouncer_operator.plugin.clients import PoolClients
from pgbouncer_operator.plugin.fields import plain
from pgbouncer_operator.plugin.findings import Diagnosis, Finding, Severity
from pgbouncer_operator.plugin.status import COLUMNS, PoolLine
from pgbouncer_operator.plugin.traffic import Outcome
from pgbouncer_operator.wording import counted

_WIDE = 1000  # columns where nobody looks at a terminal
_COLOURS = {"True": "green", "False": "red", Severity.FAULT: "red", Severity.UNKNOWN: "yellow"}


class Output(StrEnum):
    """How a command writes what it found."""

    TEXT = "text"
    JSON = "json"


def write(form: Output, value: Any, for_people: Callable[[], None]) -> None:
    """Write a value as JSON, or by `for_people`."""
    if form is Output.JSON:
        print(json.dumps(value, indent=2, default=_data))
    else:
        for_people()


def _data(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(type(value).__name__)


def write_status(lines: Sequence[PoolLine], namespaces: bool) -> None:
    """Write a table of pools, then what is not as it should be. namespaces: with a column for them."""
    console, extra = _console(), ("NAMESPACE",) if namespaces else ()
    rows = ((*((each.namespace,) if namespaces else ()), *each.cells) for each in lines)
    _write_table(console, (*extra, *COLUMNS), rows)
    for each in lines:
        if each.findings:
            _write_findings(console, f"{each.namespace}/{each.name}" if namespaces else each.name, each.findings)


def write_diagnoses(diagnoses: Sequence[Diagnosis]) -> None:
    """Write every diagnosis, then how many objects have a fault."""
    console = _console()
    for each in diagnoses:
        title = f"{each.kind} {each.namespace}/{each.name}"
        _write_findings(console, title if each.findings else f"{title}: no finding", each.findings)
    ill = sum(each.ill for each in diagnoses)
    _line(console, f"{counted(ill, 'object')} of {len(diagnoses)} with a fault.", "")


def write_clients(found: PoolClients) -> None:
    """Write a table of databases and logins, then the pods that did not answer."""
    console = _console()
    _write_table(console, CLIENTS_COLUMNS, (each.cells for each in found.lines))
    if found.findings:
        _write_findings(console, found.name, found.findings)


def write_outcome(outcome: Outcome) -> None:
    """Write what happened to a pool, a sentence a line."""
    console = _console()
    for message in outcome.messages:
        _line(console, f"{outcome.name}: {message}", "" if outcome.done else "red")


def say(text: str) -> None:
    """Write a line to standard error."""
    print(plain(text), file=sys.stderr)


def _write_table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell), style=_COLOURS.get(cell, "")) for cell in row))
    console.print(table)


def _write_findings(console: Console, title: str, findings: Sequence[Finding]) -> None:
    """The title, and each finding below it with its remedy and its runbook."""
    _line(console, title, "bold")
    for each in findings:
        _line(console, f"  {each.severity}: {each.subject}: {each.reason}", _COLOURS.get(each.severity, ""))
        for label, text in (("why", each.message), ("do", each.remedy), ("runbook", each.runbook)):
            if text:
                _line(console, f"    {label}: {text}", "")


def _line(console: Console, text: str, style: str) -> None:
    console.print(Text(plain(text), style=style), soft_wrap=True)


def _console() -> Console:
    """A console of the terminal's width; where the output is no terminal, no line is broken and nothing is coloured."""
    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, emoji=False, width=_WIDE)
