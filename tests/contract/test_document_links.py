"""Links lead to files and headings that exist, commands to targets of the Makefile; no page of the docs is hidden."""

import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tests import documents

ROOT = documents.REPOSITORY
PAGES = sorted(
    {
        *documents.pages(),
        *(ROOT / "operator").rglob("*.md"),
        *(ROOT / "charts").rglob("*.md"),
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        ROOT / "SECURITY.md",
        ROOT / ".github/pull_request_template.md",
        ROOT / "tests/localcluster/README.md",
    }
)
IMAGES = sorted((documents.DOCS / "images").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"
FEWEST_LINKS = 60


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", documents.prose(documents.text(page)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not anchor or anchor in documents.anchors(documents.text(target)), link


def test_links_are_found_at_all() -> None:
    assert sum(len(links(page)) for page in PAGES) > FEWEST_LINKS


def test_the_index_leads_to_every_page() -> None:
    index = documents.DOCS / "README.md"
    assert index in documents.pages()
    named = {(index.parent / link.partition("#")[0]).resolve() for link in links(index) if "://" not in link}
    assert set(documents.pages()) - {index} <= named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_named_exists(page: Path) -> None:
    text = documents.text(page)
    quoted = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^ {4}(.+)$", text, re.MULTILINE)
    code = [*quoted, *documents.commands(page)]
    called = [word for line in code for word in _targets(line)]
    assert set(called) <= makefile()


def _targets(line: str) -> list[str]:
    """The targets of a call of make in a shell line."""
    found = re.search(r"(?:^|\$\()make((?: [^\s\")]+)+)", line.split("  ")[0])
    return [word for word in found[1].split() if not word.startswith("-") and "=" not in word] if found else []


def makefile() -> set[str]:
    return set(re.findall(r"^\.PHONY: ([\w-]+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_make_help_lists_every_target() -> None:
    said = subprocess.run(
        ["make", "-s", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert {line.split()[0] for line in said.splitlines()} == makefile()


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_a_picture_has_a_title_loads_nothing_and_stands_on_some_page(image: Path) -> None:
    text = image.read_text(encoding="utf-8")
    assert ET.fromstring(text).findtext(f"{SVG}title")
    assert "href" not in text
    assert any(image.name in link for page in documents.pages() for link in links(page))


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_a_picture_has_its_own_paper_and_its_colours_change_all_together_or_not_at_all(image: Path) -> None:
    """A page may be light or dark: a picture on transparent ground would be legible on one of them only."""
    root = ET.fromstring(image.read_text(encoding="utf-8"))
    paper = next(root.iter(f"{SVG}rect"))
    light, dark_theme, dark = (root.findtext(f"{SVG}style") or "").partition("@media (prefers-color-scheme: dark)")
    if not dark_theme:
        assert re.fullmatch("#[0-9a-f]{6}", paper.get("fill", ""))
        return
    coloured = set(re.findall(r"\.([\w-]+) {", light))
    assert coloured == set(re.findall(r"\.([\w-]+) {", dark))
    assert {each for node in root.iter() for each in node.get("class", "").split()} == coloured
    assert paper.get("class")
    assert all(node.get("class") for node in root.iter(f"{SVG}text"))
