"""README's fenced blocks and the commands in them, for the tests that hold README to its word."""

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"

_FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language (`` when none is given), its text, and the line of the fence."""

    language: str
    text: str
    line: int

    @property
    def commands(self) -> tuple[str, ...]:
        """The shell commands: one a line, those that go on after a backslash as one."""
        joined = self.text.replace("\\\n", "\\\0")
        return tuple(each.replace("\\\0", "\\\n") for each in joined.splitlines() if each and not each.startswith("#"))


def blocks(language: str, text: str | None = None) -> tuple[Block, ...]:
    """README's blocks of one language, in order."""
    text = README.read_text(encoding="utf-8") if text is None else text
    found = _FENCED.finditer(text)
    every = (Block(each["language"], each["text"], text.count("\n", 0, each.start()) + 1) for each in found)
    return tuple(block for block in every if block.language == language)


def commands() -> tuple[str, ...]:
    """Every shell command of README, in order."""
    return tuple(command for block in blocks("sh") for command in block.commands)
