"""`kubectl pgbouncer import`: reads files, converts them, and writes what the person asked for."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from pgbouncer_operator import manifest, offline
from pgbouncer_operator.conversion import pgbouncer_ini, pooler
from pgbouncer_operator.conversion.result import Conversion, Remark
from pgbouncer_operator.plugin import output
from pgbouncer_operator.plugin.fields import plain

Result = tuple[str, tuple[str, ...]]  # the manifest, and what is wrong with it


class ImportFault(Exception):
    """The import cannot be done. The message names the file and says what to do."""


def of_ini(file: Path, userlist: Path | None, secrets: Path | None, name: str) -> Result:
    """The pools of a pgbouncer.ini. Says each remark on standard error. Raises ImportFault."""
    logins = _read(userlist) if userlist else ""
    result = pgbouncer_ini.convert(_read(file), logins, name)
    if secrets:
        _write(secrets, "".join(f"---\n{_yaml(each)}" for each in result.secrets))
    return _manifest(result, file.name)


def of_pooler(file: Path) -> Result:
    """The pool of a Pooler. Says each remark on standard error. Raises ImportFault."""
    found = manifest.read(_read(file))
    bodies = [each for each in found.objects if each.get("kind") == pooler.KIND] or list(found.objects)
    fault = found.problems[0] if found.problems else pooler.fault(bodies[0]) if bodies else "It is empty."
    if fault:
        raise ImportFault(f"{file}: {fault}")
    result = Conversion()
    for body in bodies:
        if fault := pooler.fault(body):
            raise ImportFault(f"{file}: {fault}")
        converted = pooler.convert(body)
        result.pools += converted.pools
        result.remarks += converted.remarks
    return _manifest(result, file.name)


def _manifest(result: Conversion, source: str) -> Result:
    remarks = sorted(result.remarks, key=_place)
    for each in remarks:
        output.say(str(each))
    lines = [f"Made of {source}. What to look at before it is applied:", *(f"- {each}" for each in remarks)]
    text = "".join(f"# {plain(line)}\n" for line in lines) + "".join(f"---\n{_yaml(each)}" for each in result.pools)
    return text, offline.check(text).problems


def _place(remark: Remark) -> tuple[str, int]:
    """File and line, to sort by."""
    file, _, line = remark.place.rpartition(":")
    return (file, int(line)) if re.fullmatch("[0-9]+", line) else (remark.place, 0)


def _yaml(body: dict[str, Any]) -> str:
    return yaml.safe_dump(body, sort_keys=False, width=120, allow_unicode=True)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ImportFault(f"{file} cannot be read: {error.strerror}. Correct the path.") from None


def _write(file: Path, text: str) -> None:
    """Write a new file that only its owner may read."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ImportFault(f"{file} cannot be written: {error.strerror}. Give --secrets a new file.") from None
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
