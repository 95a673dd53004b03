"""Reads JSON documents with errors that name the field. `intent` and `grants` use it.

Unknown keys are ignored, so that an older agent can read what a newer operator writes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PROTOCOL = 1  # of every document; a program does not read a document of a higher one


class DocumentError(ValueError):
    """The text is not the expected document. The message starts with the field's path."""


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object of a document. Every method raises DocumentError when the member is not what it should be."""

    members: Mapping[str, Any]
    path: str = ""
    """Where the object is in the document; empty for the document itself."""

    @staticmethod
    def parse(text: str) -> "Document":
        """The object that `text` holds. Raises DocumentError for another text and for a higher protocol."""
        try:
            value = json.loads(text)
        except ValueError as error:
            raise DocumentError(f"the document is not JSON: {error}") from None
        except RecursionError:
            raise DocumentError("the document is nested too deeply") from None
        if not isinstance(value, dict):
            raise DocumentError("the document is not a JSON object")
        document = Document(value)
        protocol = document.integer("protocol", minimum=1)
        if protocol > PROTOCOL:
            raise document.error("protocol", f"is {protocol}, this agent knows up to {PROTOCOL}: roll the pods")
        return document

    def error(self, key: str, defect: str) -> DocumentError:
        """The error of the member `key`. defect: the sentence after the key's path."""
        return DocumentError(f"{self._at(key)} {defect}")

    def text(self, key: str) -> str:
        """A string that UTF-8 can encode."""
        value = self._required(key)
        if not isinstance(value, str):
            raise self.error(key, "is not a string")
        if any("\ud800" <= each <= "\udfff" for each in value):
            raise self.error(key, "holds half of a surrogate pair, which is not a character")
        return value

    def optional_text(self, key: str) -> str | None:
        """A string, or None when the member is absent or null."""
        return None if self.members.get(key) is None else self.text(key)

    def integer(self, key: str, minimum: int, maximum: int | None = None) -> int:
        """A whole number between `minimum` and `maximum`, both included."""
        value = self._required(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, "is not a whole number")
        if value < minimum or (maximum is not None and value > maximum):
            limits = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
            raise self.error(key, f"is {value}, it must be {limits}")
        return value

    def optional_integer(self, key: str, minimum: int, maximum: int | None = None) -> int | None:
        """As `integer`, or None when the member is absent or null."""
        return None if self.members.get(key) is None else self.integer(key, minimum, maximum)

    def choice(self, key: str, choices: Sequence[str]) -> str:
        """One of `choices`."""
        value = self.text(key)
        if value not in choices:
            raise self.error(key, f"is {value!r}, it must be one of {', '.join(choices)}")
        return value

    def child(self, key: str) -> "Document":
        """The object under `key`."""
        value = self._required(key)
        if not isinstance(value, dict):
            raise self.error(key, "is not an object")
        return Document(value, self._at(key))

    def children(self, key: str) -> Iterator["Document"]:
        """The objects in the list under `key`."""
        value = self._required(key)
        if not isinstance(value, list):
            raise self.error(key, "is not a list")
        for index, each in enumerate(value):
            if not isinstance(each, dict):
                raise self.error(f"{key}[{index}]", "is not an object")
            yield Document(each, f"{self._at(key)}[{index}]")

    def _required(self, key: str) -> Any:
        if key not in self.members:
            raise self.error(key, "is missing")
        return self.members[key]

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key
