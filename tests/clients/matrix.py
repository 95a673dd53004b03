"""The clients that the tests run through a pool, their cases, and the committed results. Needs none of the clients."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
WORKS = "works"
Results = Mapping[str, Mapping[str, Mapping[str, Any]]]


class Case(NamedTuple):
    """One thing that a client does. rows: lines that PostgreSQL has afterwards, -1 for as many as the client says."""

    id: str
    what: str
    rows: int
    column: str = ""
    process: Literal["shared", "own"] = "shared"
    extra: bool = False


class Client(NamedTuple):
    """A client as it is used.

    versions: packages whose locked versions the page names. environment: how its program gets its setting. lacks: cases
    that it cannot have, and why. seamless: no transaction fails in a roll. race: what those cases say that fail by
    chance; at least one of them does. by_chance: the same, and none need fail.
    """

    id: str
    name: str
    language: str
    program: str
    versions: tuple[str, ...]
    setting: str = ""
    also: str = ""
    environment: Mapping[str, str] = {}
    lacks: Mapping[str, str] = {}
    extra: tuple[str, ...] = ()
    seamless: bool = False
    race: str = ""
    by_chance: str = ""


def cases() -> tuple[Case, ...]:
    """All cases, in the order in which a program runs them."""
    return tuple(Case(**each) for each in _toml("cases.toml")["case"])


def clients() -> tuple[Client, ...]:
    """All clients, in the order of the page."""
    rows = _toml("clients.toml")["client"]
    return tuple(
        Client(**{**row, "versions": tuple(row["versions"]), "extra": tuple(row.get("extra", ()))}) for row in rows
    )


def cases_of(client: Client) -> tuple[Case, ...]:
    """What this client has."""
    return tuple(
        each for each in cases() if each.id not in client.lacks and (not each.extra or each.id in client.extra)
    )


def results() -> Results:
    """client → case → what the last rewriting run found: outcome, rows and, in a roll, what failed."""
    found: Results = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def outcomes(found: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """case → outcome: what two runs have in common."""
    return {case: each["outcome"] for case, each in found.items()}


def version(client: Client) -> str:
    """The locked versions of the client's packages. KeyError: a package is in no lock file."""
    return ", ".join(locked(client.language)[name] for name in client.versions)


def locked(language: str) -> dict[str, str]:
    """package → version."""
    match language:
        case "javascript":
            packages = json.loads((HERE / "javascript/package-lock.json").read_text(encoding="utf-8"))["packages"]
            return {name.removeprefix("node_modules/"): each["version"] for name, each in packages.items() if name}
        case "python":
            text = (HERE / "python/requirements.lock").read_text(encoding="utf-8")
            return dict(reversed(re.findall(r"^([\w-]+)==([\w.]+)", text, re.MULTILINE)))
        case "go":
            text = (HERE / "go/go.mod").read_text(encoding="utf-8")
            return dict(re.findall(r"^(?:require)?\s+(\S+) v(\S+)", text, re.MULTILINE))
        case "java":
            text = (HERE / "java/pom.xml").read_text(encoding="utf-8")
            return dict(re.findall(r"<artifactId>(\S+)</artifactId><version>(\S+?)(?:\.Final)?</version>", text))
        case "rust":
            packages = tomllib.loads((HERE / "rust/Cargo.lock").read_text(encoding="utf-8"))["package"]
            return {each["name"]: each["version"] for each in packages}
        case "php" | "ruby":
            lines = (HERE / language / "packages.lock").read_text(encoding="utf-8").splitlines()
            return dict(line.split() for line in lines)
    raise KeyError(language)


def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / name).read_text(encoding="utf-8"))
