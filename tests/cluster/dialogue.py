"""A program in a pod of the `clients` image that is told lines and answers with lines of JSON."""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.cluster import programs
from tests.cluster.pools import DEADLINE, Namespace, Object

REST = ("python3", "-c", "import signal; signal.pause()")


@dataclass(slots=True)
class Dialogue:
    """heard: every answer with the moment at which it came (monotonic seconds), in order."""

    process: "subprocess.Popen[str]"
    heard: list[tuple[float, Object]] = field(default_factory=list)

    def tell(self, line: str = "") -> None:
        """Say one line to the program."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def with_key(self, key: str) -> list[tuple[float, Object]]:
        """The answers that have this key."""
        return [(at, each) for at, each in list(self.heard) if key in each]


def resting(here: Namespace, name: str, secret: str, **labels: str) -> Object:
    """A pod that does nothing but wait for programs to be run in it, with DATABASE_URL from the Secret if it has it."""
    body = programs.pod(here, name, REST, secret, {})
    reference = {"name": secret, "key": "DATABASE_URL", "optional": True}
    body["spec"]["containers"][0]["env"] = [{"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": reference}}]
    body["metadata"]["labels"] |= labels
    return body


@contextlib.contextmanager
def dialogue(here: Namespace, body: Object, *command: str) -> Iterator[Dialogue]:
    """Run a program in that pod while the block runs; then both are gone."""
    name = body["metadata"]["name"]
    here.kubectl("delete", "pod", name, "--ignore-not-found", "--wait=true")
    here.apply(body)
    here.kubectl("wait", f"pod/{name}", "--for=condition=Ready", f"--timeout={DEADLINE:.0f}s")
    words = ["kubectl", "exec", "-i", "-n", here.name, name, "--", *command]
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=dict(here.site.env))
    found = Dialogue(process)
    threading.Thread(target=_listen, args=(found,), daemon=True).start()
    try:
        yield found
    finally:
        process.kill()
        process.wait()
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # a line that was never read
                process.stdin.close()
        here.kubectl("delete", "pod", name, "--wait=false", "--grace-period=0", "--force", "--ignore-not-found")


def _listen(found: Dialogue) -> None:
    assert found.process.stdout is not None
    with found.process.stdout as lines:
        for line in lines:
            if line.startswith("{"):
                found.heard.append((time.monotonic(), json.loads(line)))
