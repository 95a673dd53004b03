"""The base of all models: names on the wire, and rules that both the API server and this process check.

A rule is written twice, in CEL and in Python. The API server checks it when the user applies the object. Python checks
it offline, and protects the operator while the cluster has an older CRD. A test on a real API server compares both.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition that a schema alone cannot express."""

    cel: str
    """CEL expression that is true for a valid value."""
    broken: Callable[[Any], str | None]
    """Returns None for a valid value, else the name of the offending entry; empty if the message names none."""
    message: str
    """What is wrong, and the remedy. `{}` stands for the offending entry."""
    offender: str = ""
    """CEL expression of the offending entry; empty if the message names none."""
    field: str = ""
    """The child that the message is about, for the field path of the error."""

    def validation(self) -> dict[str, str]:
        """The entry of `x-kubernetes-validations`."""
        entry = {"rule": self.cel}
        if self.offender:
            before, after = self.message.split("{}")
            parts = (quote(before) if before else "", self.offender, quote(after) if after else "")
            entry["messageExpression"] = " + ".join(part for part in parts if part)
        else:
            entry["message"] = self.message
        if self.field:
            entry["fieldPath"] = f".{self.field}"
        return entry

    def verify(self, value: object) -> None:
        """Raise PydanticCustomError of type `rule` if the value breaks the rule."""
        name = self.broken(value)
        if name is not None:
            raise PydanticCustomError("rule", "{text}", {"text": self.message.replace("{}", name), "field": self.field})


def quote(text: str) -> str:
    """The text as a CEL string literal."""
    return json.dumps(text, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Holds:
    """Rules of a value that is not a model: a string, a list or a map. For use in `Annotated`."""

    rules: tuple[Rule, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def verify(value: object) -> object:
            for rule in self.rules:
                rule.verify(value)
            return value

        return core_schema.no_info_after_validator_function(verify, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _with_rules(handler(core), self.rules)


def matches(pattern: str, message: str) -> Holds:
    """A rule that the whole string matches. pattern: without anchors, with one meaning in RE2 and Python."""
    compiled = re.compile(pattern)
    rule = Rule(
        cel=f'self.matches(r"^({pattern})$")',
        broken=lambda text: None if compiled.fullmatch(text) else "",
        message=message,
    )
    return Holds((rule,))


@dataclass(frozen=True, slots=True)
class IntOrString:
    """A value that may be an integer or a string, and stays what it is. pattern: for strings, with anchors."""

    pattern: str
    max_length: int
    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def verify(value: object) -> int | str:
            match value:
                case bool():
                    pass
                case int():
                    return value
                case str() if len(value) <= self.max_length and re.fullmatch(self.pattern[1:-1], value):
                    return value
            raise PydanticCustomError("rule", "{text}", {"text": self.message, "field": ""})

        return core_schema.no_info_plain_validator_function(verify)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"x-kubernetes-int-or-string": True, "maxLength": self.max_length, "pattern": self.pattern}


@dataclass(frozen=True, slots=True)
class ListMap:
    """A list with a key: server-side apply merges entries by this field, and two entries may not have the same."""

    key: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def unique(items: tuple[Any, ...]) -> tuple[Any, ...]:
            seen: set[str] = set()
            for index, item in enumerate(items):
                value = getattr(item, self.key)
                if value in seen:
                    text = f"two entries have the {self.key} {value}; give each entry its own"
                    raise PydanticCustomError("rule", "{text}", {"text": text, "field": index})
                seen.add(value)
            return items

        return core_schema.no_info_after_validator_function(unique, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = dict(handler(core))
        schema["x-kubernetes-list-type"] = "map"
        schema["x-kubernetes-list-map-keys"] = [self.key]
        return schema


class Model(BaseModel):
    """A part of the API: frozen, camelCase on the wire. Unknown fields are ignored, as a newer CRD may have them."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        """Drop nulls, as the API server does for fields that are not nullable. The default applies."""
        return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _verify_rules(self) -> Self:
        for rule in type(self).rules:
            rule.verify(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(core)
        schema = handler.resolve_ref_schema(reference)
        schema.update(_with_rules(schema, cls.rules))
        return reference

    def wire(self) -> dict[str, Any]:
        """The JSON value for the API server: camelCase, and nulls are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _with_rules(schema: Mapping[str, Any], rules: tuple[Rule, ...]) -> dict[str, Any]:
    entries = [*schema.get(VALIDATIONS, []), *(rule.validation() for rule in rules)]
    return {**schema, VALIDATIONS: entries} if entries else dict(schema)
