"""Configurations of PgBouncer in the shapes that people have, and what becomes of each: the files beside this one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Configuration:
    """A pgbouncer.ini with its userlist.txt."""

    sentence: str
    ini: str
    specs: list[dict[str, Any]]
    """The specs of the pools."""
    remarks: dict[str, str]
    """By its place, words of each remark that is about this very configuration."""
    userlist: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    """By its name, the password of each Secret."""
    silent: list[str] = field(default_factory=list)
    """Settings, in their order, without which the pool would be the same: it does so anyway."""


FILES = sorted(Path(__file__).with_suffix("").glob("*.yaml"))
CONFIGURATIONS = [Configuration(**yaml.safe_load(path.read_text(encoding="utf-8"))) for path in FILES]
