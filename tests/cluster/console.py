"""PgBouncer's own word about its settings, from every pod, by a small program in the agent's container."""

import json
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.cluster.pools import Namespace

from pgbouncer_operator import naming

SOCKET = f"{naming.RUN_DIR}/.s.PGSQL.{naming.PGBOUNCER_PORT}"
# Says every setting that is asked for, whenever one of them changes. The console's sessions are short, as an agent's.
FOLLOW = """
import json, sys, time
from pgbouncer_operator.agent import wire
said = None
while True:
    with wire.console(sys.argv[1], 5) as console:
        rows = console.query("SHOW CONFIG")
    now = {row["key"]: row["value"] for row in rows if row["key"] in sys.argv[2:]}
    if now != said:
        said = now
        print(json.dumps(said), flush=True)
    time.sleep(0.02)
"""


@dataclass(slots=True)
class Settings:
    """What each pod's PgBouncer has said last, with the time (monotonic) at which it was heard."""

    said: dict[str, Mapping[str, str]] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    processes: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def proven(self, wanted: Mapping[str, str]) -> float | None:
        """When the last pod began to run these values; None while one does not."""
        if len(self.said) < len(self.processes) or any(dict(each) != dict(wanted) for each in self.said.values()):
            return None
        return max(self.heard.values())

    def stop(self) -> None:
        """Listen no more."""
        for process in self.processes:
            process.kill()
            process.wait()


def follow(here: Namespace, pool: str, *settings: str) -> Settings:
    """Listen to every pod of the pool."""
    found = Settings()
    for pod in here.pods(pool):
        name = pod["metadata"]["name"]
        command = [
            "kubectl",
            "exec",
            "-n",
            here.name,
            name,
            "-c",
            naming.CONTAINER_AGENT,
            "--",
            "python3",
            "-c",
            FOLLOW,
        ]
        process = subprocess.Popen(
            [*command, SOCKET, *settings], stdout=subprocess.PIPE, text=True, env=dict(here.site.env)
        )
        found.processes.append(process)
        threading.Thread(target=_listen, args=(found, name, process), daemon=True).start()
    return found


def _listen(found: Settings, name: str, process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            found.heard[name], found.said[name] = time.monotonic(), json.loads(line)
