"""Runs a client's program. The protocol is in README.md: case ids as arguments, one line of JSON for each case."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

TIMEOUT = 300.0  # seconds; a program that has not ended by then is ended, and its cases have not worked


def run(argv: Sequence[str], environment: Mapping[str, str], steps: Sequence[str]) -> dict[str, dict[str, Any]]:
    """case → what the program says of it. A case without a line failed with the program's last words."""
    with _started(argv, environment, steps) as process:
        try:
            output, errors = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            errors += "the program did not end"
    return _answers(output, errors, steps)


def run_through(
    argv: Sequence[str], environment: Mapping[str, str], step: str, meanwhile: Callable[[Callable[[], bool]], None]
) -> dict[str, Any]:
    """What the program says of a case that goes on until its standard input ends, after `meanwhile` has returned.

    meanwhile: is given a function that says whether the program has ended by itself.
    """
    with _started(argv, environment, [step]) as process:
        try:
            meanwhile(lambda: process.poll() is not None)
        except BaseException:
            process.kill()
            output, errors = process.communicate()
            print(output[-2000:], errors[-2000:])
            raise
        output, errors = process.communicate(timeout=TIMEOUT)
    return _answers(output, errors, [step])[step]


def _started(argv: Sequence[str], environment: Mapping[str, str], steps: Sequence[str]) -> subprocess.Popen[str]:
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    return subprocess.Popen(
        [*argv, *steps],
        env={**kept, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _answers(output: str, errors: str, steps: Sequence[str]) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"case"')]
    found = {line["case"]: line for line in lines}
    words = [line for line in errors.splitlines() if "rror" in line] or [errors.strip() or "the program said nothing"]
    last = f"the program ended: {words[0].strip()}"
    return {step: found.get(step, {"case": step, "ok": False, "error": last}) for step in steps}
