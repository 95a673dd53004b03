"""The main job, end to end: 1,000 real clients on 25 real server connections. What `make demo` runs.

Ends with 0 only if no client saw an error through the pool and PostgreSQL never counted more than 25 sessions.
"""

import json
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

from tests.localcluster import deploy, traffic
from tests.localcluster.deploy import REPOSITORY, Site
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress

NAMESPACE = "shop"
POOL = "shop-pool"
MOST = 25
CLIENTS = 1000
PODS = 2
SECONDS = 20
# Each pod of clients connects to its half; one in ten connects anew for each transaction, as a function does.
THROUGH_POOL = ("--clients", str(CLIENTS // PODS), "--reconnecting", str(CLIENTS // PODS // 10), "--think", "3")


def main() -> int:
    """Run the demo; 0, or 1 with what went wrong."""
    progress = Progress()
    try:
        at = deploy.site(progress)
        deploy.install(at)
        deploy.postgres(at, NAMESPACE)
        pool(at)
        straight(at)
        good = through_the_pool(at)
        farewell(at)
    except Problem as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1
    return 0 if good else 1


def example() -> str:
    """README's first ConnectionPool, word for word."""
    blocks: Sequence[str] = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "README.md").read_text("utf-8"), re.DOTALL)
    found = next((block for block in blocks if "kind: ConnectionPool" in block), None)
    if found is None:
        raise Problem("README.md holds no ConnectionPool in a yaml block")
    return found


def pool(at: Site) -> None:
    """Apply README's pool and wait until it is Ready."""
    print(f"\n{example()}", file=sys.stderr)
    with at.progress.step("ConnectionPool from apply to Ready"):
        at.kubectl("apply", "-n", NAMESPACE, "-f", "-", text=example())
        at.kubectl("wait", "-n", NAMESPACE, f"connectionpool/{POOL}", "--for=condition=Ready", "--timeout=120s")
    prepare = traffic.Traffic("prepare", 1, ("--prepare",), f"{POOL}-connection")
    body = prepare.manifest(0, at.reference("clients"))
    at.kubectl("delete", "pod", "-n", NAMESPACE, "prepare-0", "--ignore-not-found")
    at.kubectl("apply", "-n", NAMESPACE, "-f", "-", text=json.dumps(body))
    at.kubectl("wait", "-n", NAMESPACE, "pod/prepare-0", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")


def straight(at: Site) -> None:
    """The same clients at PostgreSQL itself, to show what the pool is for."""
    print(f"\n{CLIENTS} clients straight at PostgreSQL, whose max_connections is 30:", flush=True)
    arguments = ("--clients", str(CLIENTS // PODS), "--seconds", "6", "--think", "1", "--hold")
    running = traffic.start(at, NAMESPACE, traffic.Traffic("straight", PODS, arguments, f"{POOL}-direct", "DIRECT_URL"))
    account = running.wait()
    print(f"  {account['most_connected']} clients got a connection, {account['refused']} were refused:")
    for message, count in sorted(account["errors"].items(), key=lambda each: -each[1])[:3]:
        print(f"    {count:5} x {message}")


def through_the_pool(at: Site) -> bool:
    """The load with a live view; whether both promises were kept."""
    print(
        f"\n{CLIENTS} clients through the pool for {SECONDS} s, one in ten connecting for each transaction:\n",
        flush=True,
    )
    counted = traffic.census(at, NAMESPACE)
    arguments = (*THROUGH_POOL, "--seconds", str(SECONDS))
    running = traffic.start(at, NAMESPACE, traffic.Traffic("pooled", PODS, arguments, f"{POOL}-connection"))
    print("   time  clients  connections as PostgreSQL counts them      waiting  transactions/s   failed")
    began, before = time.monotonic(), (time.monotonic(), 0)
    while not running.finished:
        time.sleep(1)
        account = running.account()
        now = (time.monotonic(), account["committed"])
        rate = (now[1] - before[1]) / max(0.001, now[0] - before[0])
        before = now
        bar = "#" * counted.now + "." * (MOST - counted.now)
        failed = account["failed"] + account["refused"]
        print(
            f"  {now[0] - began:4.0f} s  {account['connected']:7}  {counted.now:2}/{MOST} {bar}  "
            f"{waiting(at):12}  {rate:14.0f}  {failed:7}",
            flush=True,
        )
    account = running.wait()
    counted.stop()
    return verdict(account, counted)


def verdict(account: dict[str, Any], counted: traffic.Census) -> bool:
    """Say what came of it; whether both promises were kept."""
    failed = account["failed"] + account["refused"]
    print(
        f"\n  {account['committed']} transactions of {account['most_connected']} clients, {failed} failed; "
        f"median {account['p50'] * 1000:.0f} ms, 99 % within {account['p99'] * 1000:.0f} ms."
        f"\n  PostgreSQL was asked {len(counted.counts)} times and never counted more than {counted.peak} of {MOST}."
    )
    for message, count in account["errors"].items():
        print(f"    {count:5} x {message}")
    kept = failed == 0 and 0 < counted.peak <= MOST and len(counted.counts) > SECONDS
    print("  Both promises kept." if kept else "  A promise was broken.", flush=True)
    return kept


def waiting(at: Site) -> int:
    """Clients that wait for a server connection, as the pods' agents say."""
    names = at.kubectl("get", "pods", "-n", NAMESPACE, "-l", f"pgbouncer-operator.io/pool={POOL}", "-o", "name").split()
    total = 0
    for name in names:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name.removeprefix('pod/')}:9127/proxy/state"
        try:
            total += json.loads(at.kubectl("get", "--raw", path))["waiting"] or 0
        except (Problem, ValueError, KeyError):
            continue  # a pod that is just starting or going
    return total


def farewell(at: Site) -> None:
    """What there is now, and what to try next."""
    patch = '{"spec":{"timeouts":{"queryWaitSeconds":10}}}'
    print("\n$ kubectl get connectionpools -n shop\n" + at.kubectl("get", "connectionpools", "-n", NAMESPACE))
    print(
        f"""Two URLs, in Secrets of the namespace {NAMESPACE}:
  {POOL}-connection   DATABASE_URL   through the pool: for the application
  {POOL}-direct       DIRECT_URL     straight at PostgreSQL: for migrations

Try next:
  eval "$(make -s cluster-env)"
  kubectl describe connectionpool {POOL} -n {NAMESPACE}
  kubectl patch connectionpool {POOL} -n {NAMESPACE} --type merge -p '{patch}'
  kubectl scale connectionpool {POOL} -n {NAMESPACE} --replicas 4

To remove everything: make cluster-down"""
    )


if __name__ == "__main__":
    sys.exit(main())
