"""What a conversion makes: pools, Secrets, and a remark for each thing that cannot be kept as it is. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pgbouncer_operator import naming

Body = dict[str, Any]
PLACEHOLDER = "change-me"
"""Stands where only the person knows the value. The remarks name each place."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that cannot be kept as it is, or that the person has to do. It never holds a password."""

    place: str
    """File and line, such as pgbouncer.ini:12; or the field of an object."""
    message: str
    """A sentence that begins with the setting's name."""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(slots=True)
class Conversion:
    """The result, and what it grows from."""

    pools: list[Body] = field(default_factory=list)
    """ConnectionPools."""
    secrets: list[Body] = field(default_factory=list)
    """Secrets with plain passwords. They go only into the file that the person names."""
    remarks: list[Remark] = field(default_factory=list)
    """In the order of the source."""

    def remark(self, place: str, message: str) -> None:
        """Add a remark."""
        self.remarks.append(Remark(place, message))


def pool(name: str, namespace: str | None, spec: Body) -> Body:
    """A ConnectionPool as a manifest."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": naming.API_VERSION, "kind": naming.KIND, "metadata": metadata, "spec": spec}


def secret(name: str, username: str, password: str) -> Body:
    """A Secret with a login, in the keys that a pool reads by default."""
    data = {"username": username, "password": password}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "stringData": data}


def count(text: str | None) -> int:
    """The number that a text says; 0 where it is none."""
    return int(text) if text and text.isdecimal() and len(text) < 10 else 0


def put(body: Body, path: str, value: Any) -> None:
    """Set the field at a path with dots, such as timeouts.queryWaitSeconds."""
    *parents, last = path.split(".")
    for name in parents:
        body = body.setdefault(name, {})
    body[last] = value


def handle(text: str, taken: Iterable[str]) -> str:
    """A name of lower-case letters, digits and '-' that is like the text and not taken."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:50].strip("-") or "user"
    used, number, name = set(taken), 1, plain
    while name in used:
        number += 1
        name = f"{plain}-{number}"
    return name
