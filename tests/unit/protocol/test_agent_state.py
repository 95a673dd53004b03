import json
from typing import Any

import pytest

from pgbouncer_operator.protocol.agent_state import parse
from pgbouncer_operator.protocol.state import State

FULL: dict[str, Any] = {
    "protocol": 1, "uid": "u", "version": "0.1.0", "pgbouncer": "1.26.1", "phase": "running", "hash": "abc", "seq": 4,
    "cap": 12, "open": 7, "busy": 3, "waiting": 1, "clients": 412,
    "problems": [{"reason": "NoGrant", "message": "it waits"}],
    "users": {"shop": {"ok": False, "message": "no key", "generation": "..2026"}},
    "backend": {"ok": None, "reason": "", "message": ""},
    "reload": {"hash": "abc", "seconds": 0.21, "kind": "reload"},
}  # fmt: skip


def test_a_whole_document_is_read() -> None:
    state = parse(json.dumps(FULL), "u")
    assert state is not None
    assert (state.digest, state.seq, state.cap, state.open, state.clients) == ("abc", 4, 12, 7, 412)
    assert (state.users["shop"].ok, state.users["shop"].generation) == (False, "..2026")
    assert state.backend.ok is None
    assert state.problems[0].reason == "NoGrant"
    assert (state.reload_kind, state.reload_seconds) == ("reload", 0.21)


def test_what_an_agent_says_before_it_knows_anything_is_read() -> None:
    state = parse(State(uid="u", version="0.1.0").to_json(), "u")
    assert state is not None
    assert (state.digest, state.seq, state.cap, state.open) == ("", 0, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(FULL | {"uid": "somebody else"}),
        json.dumps({key: value for key, value in FULL.items() if key != "seq"}),
        json.dumps(FULL | {"seq": "many"}),
        json.dumps(FULL | {"users": ["shop"]}),
        json.dumps([FULL]),
        "null",
        "",
        "{",
    ],
)
def test_another_pods_word_and_what_cannot_be_read_are_unknown(text: str) -> None:
    assert parse(text, "u") is None
