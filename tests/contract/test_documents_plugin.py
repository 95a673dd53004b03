"""The examples of the page about `kubectl pgbouncer` print what the page says, against a cluster with README's pool."""

import shlex
from pathlib import Path

import pytest
from tests import documents
from tests.unit.plugin import world as worlds

from pgbouncer_operator import offline

PAGE = documents.DOCS / "reference/kubectl-pgbouncer.md"
BLOCKS = documents.blocks("console", PAGE)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> worlds.World:
    """README's pool with a wrong password."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    found = worlds.made(tmp_path, capsys)
    words = 'password authentication failed for user "shop"'
    refused = worlds.condition("BackendReachable", "False", "BackendRefusedLogin", words)
    figures = {"max": 25, "size": 25, "open": 0, "busy": 0, "waiting": 12}
    status = {
        "conditions": [{**refused, "type": "Ready"}, refused],
        "summary": {"pods": "2/2", "connections": "0/25"},
        "serverConnections": figures,
    }
    found.put(worlds.served(**status), worlds.lease())
    worlds.serve(found, "a", [("shop", "shop", (20, 12, 4.5, 13, 0)), ("shop", "report", (2, 0, 0, 0, 1))])
    worlds.serve(found, "b", [("shop", "shop", (11, 0, 0, 11, 0))])
    found.meanwhile = lambda: worlds.follow(found)
    monkeypatch.chdir(tmp_path)
    (ini,) = documents.blocks("ini", PAGE)
    (tmp_path / "pgbouncer.ini").write_text(ini.text, encoding="utf-8")
    (tmp_path / "userlist.txt").write_text('"shop" "change-me"\n', encoding="utf-8")
    return found


def examples(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a block, with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return found


def test_the_page_has_examples() -> None:
    assert len(BLOCKS) > 1
    assert documents.blocks("console") == BLOCKS


def printed(world: worlds.World, command: str) -> list[str]:
    """What a command writes to the terminal."""
    line, redirected, file = command.partition(" > ")
    program, subcommand, *arguments = shlex.split(line)
    if (program, subcommand) == ("pgbouncer-operator", "check"):
        return offline.check(Path(*arguments).read_bytes()).text.splitlines()
    assert (program, subcommand) == ("kubectl", "pgbouncer")
    answer = world.run(*arguments)
    if not redirected:
        return answer.lines
    Path(file).write_text(answer.text, encoding="utf-8")
    return answer.errors.splitlines()


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_an_example_prints_what_its_page_says(world: worlds.World, block: documents.Block) -> None:
    for command, lines in examples(block.text):
        assert printed(world, command) == lines, command
