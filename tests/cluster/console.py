"""PgBouncer's own word, from every pod of a pool, by small programs in the agents' containers."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.pools import DEADLINE, Namespace
from tests.localcluster.waiting import until

from pgbouncer_operator import naming

SOCKET = f"{naming.RUN_DIR}/.s.PGSQL.{naming.PGBOUNCER_PORT}"
# Says the settings that are asked for, and every database with its mode and state, whenever one of them changes.
# The console's sessions are short, as an agent's.
FOLLOW = """
import json, sys, time
from pgbouncer_operator.agent import wire
said = None
while True:
    with wire.console(sys.argv[1], 5) as console:
        rows, databases = console.query("SHOW CONFIG"), console.query("SHOW DATABASES")
    now = {row["key"]: row["value"] for row in rows if row["key"] in sys.argv[2:]}
    for row in databases:
        state = "disabled" if row["disabled"] == "1" else "paused" if row["paused"] == "1" else "open"
        now["databases." + row["name"]] = " ".join(filter(None, [row["host"], row["pool_mode"], state]))
    if now != said:
        said = now
        print(json.dumps(said), flush=True)
    time.sleep(0.04)
"""
# Logs in again and again until PgBouncer answers as is wanted; says its last word, "" for a login that worked.
LOGIN = """
import json, sys, time, psycopg
for line in sys.stdin:
    asked = json.loads(line)
    over = time.monotonic() + asked["seconds"]
    while True:
        try:
            psycopg.connect(host="127.0.0.1", connect_timeout=10, **asked["login"]).close()
            said = ""
        except psycopg.OperationalError as error:
            said = " ".join(str(error).split()) or "refused"
        if (said == "") == asked["accepted"] or time.monotonic() > over:
            break
        time.sleep(0.03)
    print(json.dumps({"said": said}), flush=True)
"""
Said = Mapping[str, str]


@dataclass(slots=True)
class Followed:
    """Programs in the pods. said: each pod's last word, heard: when it came (monotonic seconds)."""

    said: dict[str, Said] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    processes: "dict[str, subprocess.Popen[str]]" = field(default_factory=dict)

    def proven(self, wanted: Callable[[Sequence[Said]], bool]) -> float | None:
        """When the last pod changed its word to what is wanted; None while not all have."""
        if len(self.said) < len(self.processes) or not wanted(list(self.said.values())):
            return None
        return max(self.heard.values())

    def wait(self, wanted: Callable[[Sequence[Said]], bool], what: str, seconds: float = DEADLINE) -> float:
        """Wait until all have said what is wanted; when the last one did."""
        until(lambda: "" if self.proven(wanted) else f"{what} on every pod: {self.said}", seconds, pause=0.02)
        return self.proven(wanted) or time.monotonic()

    def stop(self) -> None:
        """Listen no more."""
        for process in self.processes.values():
            process.kill()
            process.wait()
            if process.stdin:
                process.stdin.close()


def follow(here: Namespace, pool: str, *settings: str) -> Followed:
    """Listen to every pod's settings and databases."""
    return _start(here, pool, FOLLOW, SOCKET, *settings)


def logins(here: Namespace, pool: str) -> Followed:
    """Ready to log in at every pod."""
    return _start(here, pool, LOGIN)


def login(at: Followed, accepted: bool, seconds: float = DEADLINE, **who: str) -> dict[str, str]:
    """Try to log in at every pod until the answer is as wanted; each pod's last word. who: user, password, dbname."""
    at.said.clear()
    asked: dict[str, Any] = {"login": {"port": naming.PGBOUNCER_PORT, **who}, "accepted": accepted, "seconds": seconds}
    for process in at.processes.values():
        assert process.stdin is not None
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
    until(lambda: "" if len(at.said) == len(at.processes) else "an answer of every pod", seconds + 30, pause=0.02)
    return {pod: said["said"] for pod, said in at.said.items()}


def _start(here: Namespace, pool: str, program: str, *arguments: str) -> Followed:
    found = Followed()
    for pod in here.pods(pool):
        name = pod["metadata"]["name"]
        inside = ("python3", "-c", program, *arguments)
        command = ("kubectl", "exec", "-i", "-n", here.name, name, "-c", naming.CONTAINER_AGENT, "--", *inside)
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=dict(here.site.env))
        found.processes[name] = process
        threading.Thread(target=_listen, args=(found, name, process), daemon=True).start()
    return found


def _listen(found: Followed, name: str, process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            found.heard[name], found.said[name] = time.monotonic(), json.loads(line)
