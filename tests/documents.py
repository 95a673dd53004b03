"""README and the pages of operator/docs: their fenced blocks and commands, for the tests that compare them."""

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
DOCS = REPOSITORY / "operator/docs"

_FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its page, its language (`` when none is given), its text, and the line of the fence."""

    page: Path
    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"

    @property
    def commands(self) -> tuple[str, ...]:
        """The shell commands: one a line, those that go on after a backslash as one."""
        joined = self.text.replace("\\\n", "\\\0")
        return tuple(each.replace("\\\0", "\\\n") for each in joined.splitlines() if each and not each.startswith("#"))


def pages() -> tuple[Path, ...]:
    """README, the pages of operator/docs/how-to, then the other pages of operator/docs: the order in which they run.

    A page of how-to goes on from README's pool; the others show what there is then.
    """
    return (README, *sorted(DOCS.rglob("*.md"), key=lambda page: (page.parent.name != "how-to", page)))


def text(*chosen: Path) -> str:
    """The text of the pages, or of the chosen ones, one after the other."""
    return "\n".join(page.read_text(encoding="utf-8") for page in chosen or pages())


def every_block(*chosen: Path) -> tuple[Block, ...]:
    """Every fenced block of the pages, or of the chosen ones, in order."""
    found = []
    for page in chosen or pages():
        content = text(page)
        for each in _FENCED.finditer(content):
            line = content.count("\n", 0, each.start()) + 1
            found.append(Block(page, each["language"], each["text"], line))
    return tuple(found)


def blocks(language: str, *chosen: Path) -> tuple[Block, ...]:
    """The blocks of one language, in order."""
    return tuple(block for block in every_block(*chosen) if block.language == language)


def commands(*chosen: Path) -> tuple[str, ...]:
    """Every shell command, in order. The same command may stand on several pages."""
    return tuple(command for block in blocks("sh", *chosen) for command in block.commands)


def prose(content: str) -> str:
    """A page's text without its fenced and its quoted code."""
    return re.sub(r"`[^`\n]*`", "", _FENCED.sub("", content))


def anchors(content: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them: a repeated heading gets a number."""
    found: dict[str, int] = {}
    result = set()
    for title in re.findall(r"^#+ (.+)$", _FENCED.sub("", content), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        result.add(f"{anchor}-{found[anchor]}" if anchor in found else anchor)
        found[anchor] = found.get(anchor, 0) + 1
    return result
