"""Models → structural schema: what pydantic writes and Kubernetes refuses is gone, what Kubernetes needs is there."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from pgbouncer_operator.api.model import IntOrString, ListMap, Model, Rule, matches
from pgbouncer_operator.api.schema import structural


class Colour(StrEnum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


class Leaf(Model):
    """A leaf, whose own words give way to the field's."""

    size: Annotated[int, Field(ge=1, le=9)] = 3
    """How large it is."""
    shade: Colour | None = None
    """Which colour
    it has."""


class Tree(Model):
    """A tree."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(cel="true", broken=lambda _: None, message="{} is too many", offender="'x'", field="leaves"),
    )

    leaf: Leaf = Leaf()
    """Its first leaf."""
    big: Leaf = Leaf(size=9, shade=Colour.RED)
    """Its big leaf."""
    leaves: Annotated[tuple[Leaf, ...], Field(max_length=5), ListMap("size")] | None = None
    """More leaves."""
    tags: dict[Annotated[str, StringConstraints(pattern="^a")], Annotated[str, Field(max_length=3)]] | None = None
    """Its tags."""
    age: Annotated[int | str, IntOrString("^[0-9]+$", 4, "must be a number")]
    """Its age."""
    evergreen: Literal[True] | None = None
    """Whether it keeps its leaves."""
    label_text: Annotated[str, matches("[a-z]+", "must be lower case")] = "oak"
    """What is written on it."""


TREE = structural(Tree)
FIELDS = TREE["properties"]


def test_fields_have_the_names_of_the_wire() -> None:
    assert "labelText" in FIELDS
    assert "label_text" not in FIELDS


def test_an_optional_field_is_simply_not_required_and_never_null() -> None:
    assert TREE["required"] == ["age"]
    assert "null" not in str(TREE)
    assert "anyOf" not in str(TREE)
    assert "default" not in FIELDS["leaves"]


def test_references_are_replaced_and_the_fields_own_words_win() -> None:
    assert "$ref" not in str(TREE)
    assert "$defs" not in str(TREE)
    assert FIELDS["leaf"]["description"] == "Its first leaf."
    assert FIELDS["leaf"]["properties"]["size"] == {
        "default": 3, "description": "How large it is.", "maximum": 9, "minimum": 1, "type": "integer",
    }  # fmt: skip


def test_an_enum_is_inlined_with_the_fields_words_on_one_line() -> None:
    assert FIELDS["leaf"]["properties"]["shade"] == {
        "description": "Which colour it has.", "enum": ["red", "blue"], "type": "string",
    }  # fmt: skip


def test_the_default_of_an_object_holds_only_what_its_fields_do_not_say() -> None:
    assert FIELDS["leaf"]["default"] == {}
    assert FIELDS["big"]["default"] == {"size": 9, "shade": "red"}


def test_defaults_can_be_left_out_altogether() -> None:
    assert "default" not in str(structural(Tree, defaults=False))


def test_items_of_lists_have_no_defaults_so_that_tools_find_them_as_they_were_written() -> None:
    assert "default" not in str(FIELDS["leaves"]["items"])
    assert FIELDS["leaves"]["items"]["properties"]["size"]["maximum"] == 9


def test_a_list_map_names_its_key() -> None:
    assert FIELDS["leaves"]["x-kubernetes-list-type"] == "map"
    assert FIELDS["leaves"]["x-kubernetes-list-map-keys"] == ["size"]
    assert FIELDS["leaves"]["maxItems"] == 5


def test_a_map_with_a_pattern_for_keys_becomes_a_plain_map() -> None:
    assert FIELDS["tags"]["additionalProperties"] == {"maxLength": 3, "type": "string"}
    assert "patternProperties" not in FIELDS["tags"]


def test_an_integer_or_string_has_no_type_of_its_own() -> None:
    assert FIELDS["age"] == {
        "description": "Its age.", "maxLength": 4, "pattern": "^[0-9]+$", "x-kubernetes-int-or-string": True,
    }  # fmt: skip


def test_a_constant_becomes_an_enum_of_one() -> None:
    assert FIELDS["evergreen"]["enum"] == [True]
    assert "const" not in FIELDS["evergreen"]


def test_rules_stand_at_the_model_or_at_the_string_they_are_about() -> None:
    assert TREE["x-kubernetes-validations"] == [
        {
            "rule": "true",
            "messageExpression": "'x' + \" is too many\"",
            "fieldPath": ".leaves",
        }
    ]
    assert FIELDS["labelText"]["x-kubernetes-validations"] == [
        {"rule": 'self.matches(r"^([a-z]+)$")', "message": "must be lower case"}
    ]
