"""ConnectionPool: reads an object of the API server or of a file, and says what is wrong with it."""

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
    """The part of metadata that the operator reads."""

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    deletion_timestamp: str | None = None


class ConnectionPool(Model):
    """PgBouncer pods in front of one PostgreSQL server, with one limit on server connections for all of them."""

    rules: ClassVar[tuple[Rule, ...]] = (NAME_RULE,)

    metadata: ObjectMeta
    spec: PoolSpec


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field."""

    field: str
    """Path of the field, as the API server writes it; empty for the whole object."""
    message: str
    """What is wrong, and the remedy. It never holds the value."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class InvalidSpec(Exception):
    """The object cannot be used. `problems` lists every problem, in the order of the fields."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


def parse(body: Mapping[str, Any]) -> ConnectionPool:
    """Read a ConnectionPool from the whole object, as JSON values, with or without status.

    Unknown fields are ignored. Raises InvalidSpec, whose text holds no values: a value may be a misplaced password.
    """
    try:
        return ConnectionPool.model_validate(body)
    except ValidationError as error:
        invalid = problems(error)
    raise invalid


def problems(error: ValidationError) -> InvalidSpec:
    """Every problem that validation found, without the values."""
    details = error.errors(include_url=False, include_input=False)
    return InvalidSpec([_problem(detail) for detail in details if not _follows(detail, details)])


def _follows(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Whether a list is too short only because its entries are wrong, which has problems of its own."""
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
    if "[key]" in detail["loc"]:  # pydantic's mark for a wrong key of a map
        return "is not a valid key: use letters, digits, '-', '_' and '.', optionally after a DNS name and '/'"
    match detail["type"]:
        case "missing":
            text = "is required: add it"
        case "extra_forbidden":
            text = "is not a field: correct its spelling or remove it"
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
