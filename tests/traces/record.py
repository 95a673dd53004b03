"""Write down the load of a real pool, to see what sizing by demand would do with it.

    python -m tests.traces.record NAMESPACE POOL SECONDS [DEPLOYMENT] > tests/traces/recorded/NAME.csv

It reads what the pool's pods say of themselves, and nothing of what clients send. Needs kubectl with get on pods/proxy.
"""

import json
import subprocess
import sys
import time
from typing import Any

from tests.traces.recording import Line

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.state import AgentState

EVERY = 15.0  # seconds: a transaction counts when it ends, so shorter spans would tell of the one before
COLUMNS = "at,rate,busy,ready,desired"


def main(argv: list[str]) -> int:
    """Record for so long; 2 when called wrongly."""
    if len(argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    namespace, pool, seconds, *deployment = argv
    began = time.monotonic()
    before, then = states(namespace, pool), began
    print(COLUMNS, flush=True)
    while time.monotonic() - began < float(seconds):
        time.sleep(max(0.0, then + EVERY - time.monotonic()))
        after, now = states(namespace, pool), time.monotonic()
        ready, desired = replicas(namespace, *deployment)
        line = told(before, after, now - then)
        print(f"{now - began:.1f},{line.rate:.1f},{line.busy:.2f},{ready},{desired}", flush=True)
        before, then = after, now
    return 0


def told(before: dict[str, AgentState], after: dict[str, AgentState], seconds: float) -> Line:
    """What the pods that were heard twice did in between."""
    rate = busy = 0.0
    for uid, state in after.items():
        earlier = before.get(uid)
        if earlier is None or earlier.totals is None or state.totals is None:
            continue
        grown = state.totals.since(earlier.totals)
        busy += state.used_since(earlier, grown, seconds)
        rate += grown.transactions / seconds
    return Line(seconds, rate, busy, 0.0, 0.0)


def states(namespace: str, pool: str) -> dict[str, AgentState]:
    """What each pod of the pool that answers says of itself, by uid."""
    found = {}
    for pod in kubectl(namespace, "pods", "-l", f"{naming.LABEL_POOL}={pool}")["items"]:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{namespace}/pods/{metadata['name']}:{naming.AGENT_PORT}/proxy/state"
        answer = subprocess.run(["kubectl", "get", "--raw", path], capture_output=True, text=True, check=False)
        state = AgentState.from_json(answer.stdout, metadata["uid"]) if answer.returncode == 0 else None
        if state is not None:
            found[metadata["uid"]] = state
    return found


def replicas(namespace: str, deployment: str = "") -> tuple[int, int]:
    """Ready and desired ones of the clients' Deployment; 0 and 0 without one."""
    if not deployment:
        return 0, 0
    body = kubectl(namespace, "deployment", deployment)
    return int(body["status"].get("readyReplicas", 0)), int(body["spec"]["replicas"])


def kubectl(namespace: str, *what: str) -> dict[str, Any]:
    """`kubectl get` as JSON."""
    command = ["kubectl", "get", "-n", namespace, *what, "-o", "json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
