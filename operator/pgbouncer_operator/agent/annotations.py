"""The downward API's file of a pod's annotations. Pure."""

import re

_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))")


_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def parse_annotations(text: str) -> dict[str, str]:
    """Read the downward API's file of annotations: one `key="value"` a line, the value quoted by Go's strconv.Quote."""
    annotations = {}
    for line in text.split("\n"):
        key, _, quoted = line.partition("=")
        if len(quoted) >= 2 and quoted[0] == quoted[-1] == '"':
            annotations[key] = _ESCAPE.sub(_unescape, quoted[1:-1])
    return annotations


def _unescape(match: re.Match[str]) -> str:
    *codes, letter = match.groups()
    code = next((each for each in codes if each), None)
    return chr(int(code, 16)) if code else _LETTERS.get(letter, letter)
