"""Load in the cluster: pods of the `clients` image whose account is followed line by line."""

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.localcluster.deploy import Site
from tests.localcluster.problem import Problem

Account = Mapping[str, Any]
SUMS = ("connected", "most_connected", "refused", "committed", "failed")
WORST = ("p50", "p99", "longest", "silence")
BINDING = "/binding"  # the Secret, as a volume
COUNTS = ("stages", "errors")


@dataclass(frozen=True, slots=True)
class Traffic:
    """Clients to start: how many pods, the arguments of each, and the Secret's key that holds the URL.

    verified: they check the pool's certificate against the Secret's ca.crt.
    """

    name: str
    pods: int
    arguments: Sequence[str]
    secret: str
    key: str = "DATABASE_URL"
    program: str = "load.clients"
    verified: bool = False

    def manifest(self, number: int, image: str) -> dict[str, Any]:
        """One pod."""
        security = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        verification = [{"name": "PGSSLROOTCERT", "value": f"{BINDING}/ca.crt"}] if self.verified else []
        reference = {"secretKeyRef": {"name": self.secret, "key": self.key}}
        container = {
            "name": "load",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": [*self._interpreter(), *self.arguments],
            "env": [{"name": "DATABASE_URL", "valueFrom": reference}, *verification],
            "securityContext": security,
            "volumeMounts": [{"name": "binding", "mountPath": BINDING, "readOnly": True}],
        }
        spec = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [{"name": "binding", "secret": {"secretName": self.secret}}],
        }
        metadata = {"name": f"{self.name}-{number}", "labels": {"traffic": self.name}}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def _interpreter(self) -> list[str]:
        """What runs the program: a Python module by its name, or a file of JavaScript in the load's folder."""
        return (
            ["node", f"/opt/load/{self.program}"] if self.program.endswith(".js") else ["python3", "-m", self.program]
        )


@dataclass(slots=True)
class Running:
    """Started clients; `account` is the sum of what all have seen so far."""

    site: Site
    namespace: str
    name: str
    latest: dict[int, Account] = field(default_factory=dict)
    followers: list[threading.Thread] = field(default_factory=list)

    def account(self) -> dict[str, Any]:
        """Sums over the pods, the worst latencies, and every error with its count and when it was seen first."""
        seen = list(self.latest.values())
        total: dict[str, Any] = {key: sum(each[key] for each in seen) for key in SUMS}
        total |= {key: max((each[key] or 0 for each in seen), default=0) for key in WORST}
        for key in COUNTS:
            total[key] = dict(sum((Counter(each[key]) for each in seen), Counter[str]()))
        first: dict[str, str] = {}
        for told, at in (each for account in seen for each in account["first"].items()):
            first[told] = min(at, first.get(told, at))
        return total | {"first": first}

    @property
    def finished(self) -> bool:
        """Whether every pod has said its last line."""
        return not any(follower.is_alive() for follower in self.followers)

    def finish(self) -> dict[str, Any]:
        """Let every client end its transaction and leave; then as wait()."""
        for number in range(len(self.followers)):
            self.site.kubectl("exec", "-n", self.namespace, f"{self.name}-{number}", "--", "sh", "-c", "kill -TERM 1")
        return self.wait()

    def wait(self) -> dict[str, Any]:
        """Wait for the end, remove the pods, and give the account. Problem when a pod did not get to its end."""
        for follower in self.followers:
            follower.join()
        unfinished = [number for number in range(len(self.followers)) if not self.latest.get(number, {}).get("done")]
        if unfinished:
            said = self.site.kubectl("logs", "-n", self.namespace, f"{self.name}-{unfinished[0]}", "--tail=20")
            raise Problem(f"the clients in pod {self.name}-{unfinished[0]} did not get to their end:\n{said}")
        self.site.kubectl(
            "delete", "pod", "-n", self.namespace, "-l", f"traffic={self.name}", "--wait=false", "--ignore-not-found"
        )
        return self.account()


def start(site: Site, namespace: str, traffic: Traffic) -> Running:
    """Start the pods and follow their accounts."""
    running = Running(site, namespace, traffic.name)
    site.kubectl("delete", "pod", "-n", namespace, "-l", f"traffic={traffic.name}", "--ignore-not-found", "--wait=true")
    bodies = [traffic.manifest(number, site.reference("clients")) for number in range(traffic.pods)]
    site.kubectl(
        "apply", "-n", namespace, "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
    )
    names = [f"pod/{traffic.name}-{number}" for number in range(traffic.pods)]
    site.kubectl(
        "wait", "-n", namespace, "--for=jsonpath={.status.containerStatuses[0].started}=true", "--timeout=60s", *names
    )
    for number in range(traffic.pods):
        follower = threading.Thread(target=_follow, args=(running, number), daemon=True)
        running.followers.append(follower)
        follower.start()
    return running


def _follow(running: Running, number: int) -> None:
    command = ["kubectl", "logs", "-f", "-n", running.namespace, f"{running.name}-{number}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(running.site.env)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                running.latest[number] = json.loads(line)


@dataclass(slots=True)
class Census:
    """PostgreSQL's own count of the login's sessions, ten times a second: every value, in order.

    at: when each was heard (monotonic seconds).
    """

    counts: list[int] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    process: "subprocess.Popen[str] | None" = None

    @property
    def peak(self) -> int:
        """The most sessions ever counted."""
        return max(self.counts, default=0)

    @property
    def now(self) -> int:
        """The latest count."""
        return self.counts[-1] if self.counts else 0

    def since(self, moment: float) -> list[tuple[float, int]]:
        """When and how many, from that moment on (monotonic seconds)."""
        return [(at, count) for at, count in zip(list(self.at), list(self.counts), strict=False) if at >= moment]

    def stop(self) -> None:
        """Count no more."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            if self.process.stdin is not None:
                self.process.stdin.close()


COUNT = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop' AND backend_type = 'client backend'"
EVERY = " \\watch 0.08\n"


def census(site: Site, namespace: str, server: str = "deployment/postgres", only: str = "") -> Census:
    """Start counting, in one session of the superuser, for whom PostgreSQL keeps slots.

    only: a condition in SQL, to count not all of the login's sessions.
    """
    found = Census()
    command = [
        "kubectl",
        "exec",
        "-i",
        "-n",
        namespace,
        server,
        "--",
        "psql",
        "-h",
        "/tmp",
        "-U",
        "postgres",
    ]
    found.process = subprocess.Popen(
        [*command, "-XqAt"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(site.env)
    )
    process = found.process
    assert process.stdin is not None
    process.stdin.write(COUNT + (f" AND {only}" if only else "") + EVERY)
    process.stdin.flush()

    def collect() -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if line.strip().isdecimal():
                    found.at.append(time.monotonic())
                    found.counts.append(int(line))

    threading.Thread(target=collect, daemon=True).start()
    return found
