"""ConnectionPool as one value: parse an object from the API server or a file, or say what is wrong with it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pgbouncer_operator.api.model import Model, Rule
from pgbouncer_operator.api.spec import PoolSpec
from pgbouncer_operator.naming import POOL_NAME_MAX

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")

NAME_RULE = Rule(
    cel=f'self.metadata.name.size() <= {POOL_NAME_MAX} && self.metadata.name.matches(r"^{_NAME.pattern}$")',
    broken=lambda pool: (
        None if len(pool.metadata.name) <= POOL_NAME_MAX and _NAME.fullmatch(pool.metadata.name) else ""
    ),
    message=f"must be at most {POOL_NAME_MAX} characters, lower-case letters, digits and '-', starting "
    "with a letter, because the Service and the pods are named after it: choose another name",
    field="metadata.name",
)


class ObjectMeta(Model):
    """What we read of metadata."""

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    deletion_timestamp: str | None = None


class ConnectionPool(Model):
    """A pool of PgBouncer pods in front of one PostgreSQL server, with one limit on server connections for all."""

    rules: ClassVar[tuple[Rule, ...]] = (NAME_RULE,)

    metadata: ObjectMeta
    spec: PoolSpec


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing that is wrong: the field's path as the API server writes it, and what to do. Never the value."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class InvalidSpec(Exception):
    """The object cannot be used. `problems` lists every fault, in the order of the fields."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


def parse(body: Mapping[str, Any]) -> ConnectionPool:
    """Read a ConnectionPool: the whole object, as JSON values, with or without status.

    Fields that this version does not know are ignored. Raises InvalidSpec; its text holds no values, so that a
    password in a wrong place goes no further.
    """
    try:
        return ConnectionPool.model_validate(body)
    except ValidationError as error:
        found = problems(error)
    raise found


def problems(error: ValidationError) -> InvalidSpec:
    """Every fault that validation found, without the values."""
    details = error.errors(include_url=False, include_input=False)
    return InvalidSpec([_problem(detail) for detail in details if not _follows(detail, details)])


def _follows(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Tell whether a list only counts as too short because its entries are wrong, which is reported by itself."""
    depth = len(detail["loc"])
    return detail["type"] == "too_short" and any(
        len(other["loc"]) > depth and other["loc"][:depth] == detail["loc"] for other in details
    )


def _problem(detail: ErrorDetails) -> FieldProblem:
    field = detail.get("ctx", {}).get("field", "")
    parts = [part for part in (*detail["loc"], field) if part not in {"", "[key]"}]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return FieldProblem(path.removeprefix("."), _sentence(detail))


def _sentence(detail: ErrorDetails) -> str:
    facts = detail.get("ctx", {})
    if "[key]" in detail["loc"]:  # how pydantic marks that the key of a map is wrong, not its value
        return "is no key that Kubernetes takes: use letters, digits, '-', '_', '.', and a DNS name and '/' in front"
    match detail["type"]:
        case "missing":
            text = "is required: add it"
        case "enum" | "literal_error":
            text = f"must be {facts['expected']}"
        case "string_pattern_mismatch":
            text = f"must match {facts['pattern']}"
        case "model_type" | "model_attributes_type" | "dict_type":
            text = "must be an object"
        case "too_short":
            text = f"needs at least {facts['min_length']} entry"
        case "too_long":
            text = f"may have at most {facts['max_length']} entries"
        case _:
            text = detail["msg"].replace("Input should", "must", 1).replace("a valid ", "of type ", 1)
    return text
