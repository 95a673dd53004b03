"""Pools in a namespace of their own, as a user handles them: kubectl, and waiting until the cluster says so."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.localcluster.deploy import Site
from tests.localcluster.problem import Problem
from tests.localcluster.waiting import until

from pgbouncer_operator import naming

Object = dict[str, Any]
KIND = "connectionpool"
DEADLINE = 90.0  # seconds; generous, because other work may keep the machine busy
PAUSE = 0.25  # seconds between two looks: each is a process
ANSWERED = f'for host; do pg_isready -h "$host" -p {naming.PGBOUNCER_PORT}; done'
USER = {"name": "shop", "secretRef": {"name": "shop-db"}}


@dataclass(frozen=True, slots=True)
class Namespace:
    """One namespace of the cluster."""

    site: Site
    name: str

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """kubectl in this namespace."""
        return self.site.kubectl("--namespace", self.name, *arguments, text=text)

    def apply(self, body: Object | str) -> None:
        """Apply a manifest."""
        self.kubectl("apply", "-f", "-", text=body if isinstance(body, str) else json.dumps(body))

    def patch(self, pool: str, **spec: Any) -> None:
        """Change fields of a pool's spec by merge patch."""
        self.kubectl("patch", KIND, pool, "--type=merge", "--patch", json.dumps({"spec": spec}))

    def get(self, kind: str, name: str) -> Object:
        """One object; Problem when there is none."""
        found: Object = json.loads(self.kubectl("get", kind, name, "--output=json"))
        return found

    def all(self, kind: str, selector: str = "") -> list[Object]:
        """All objects of a kind, or those with a label."""
        chosen = [f"--selector={selector}"] if selector else []
        items: list[Object] = json.loads(self.kubectl("get", kind, *chosen, "--output=json"))["items"]
        return items

    def condition(self, pool: str, kind: str) -> Mapping[str, str]:
        """A pool's condition; empty when it has none of that type, or none for the spec as it is now."""
        body = self.get(KIND, pool)
        conditions = body.get("status", {}).get("conditions", [])
        found: Mapping[str, str] = next((each for each in conditions if each["type"] == kind), {})
        return found if found.get("observedGeneration") == body["metadata"]["generation"] else {}

    def wait_condition(self, pool: str, kind: str, status: str, reason: str = "", seconds: float = DEADLINE) -> str:
        """Wait until the condition has that status, and that reason if one is given; its message."""

        def missing() -> str:
            found = self.condition(pool, kind)
            if found.get("status") == status and reason in {"", found.get("reason")}:
                return ""
            return f"{kind}={status} {reason} of {pool}; its status is {self.status(pool)}"

        until(missing, seconds, PAUSE)
        return self.condition(pool, kind).get("message", "")

    def wait_ready(self, *pools: str) -> None:
        """Wait until the pools are Ready for the spec as it is now, and their Services lead to them.

        kube-proxy looks at most once a second, and until it has, a new Service refuses.
        """
        for pool in pools:
            self.wait_condition(pool, "Ready", "True")
        hosts = [naming.service(pool) for pool in pools]
        command = ["exec", "deployment/postgres", "--", "sh", "-ec", ANSWERED, "sh", *hosts]
        self.wait(lambda: self.kubectl(*command), f"an answer of {', '.join(hosts)}")

    def status(self, pool: str) -> str:
        """Every condition of a pool in one line each."""
        conditions = self.get(KIND, pool).get("status", {}).get("conditions", [])
        return "\n".join(f"{each['type']}={each['status']} {each['reason']}: {each['message']}" for each in conditions)

    def pods(self, pool: str) -> list[Object]:
        """The pool's pods that are not terminating."""
        found = self.all("pods", f"{naming.LABEL_POOL}={pool}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def state(self, pod: Object) -> str:
        """What the pod's agent says of itself, as text; Problem when it does not answer."""
        path = f"/api/v1/namespaces/{self.name}/pods/{pod['metadata']['name']}:{naming.AGENT_PORT}/proxy/state"
        return self.kubectl("get", "--raw", path)

    def deliver(self, pool: str) -> None:
        """Let kubelet bring changed Secrets and ConfigMaps into the pods at once: by itself it takes a minute or so."""
        names = [f"pod/{pod['metadata']['name']}" for pod in self.pods(pool)]
        self.kubectl("annotate", "--overwrite", *names, f"example.com/delivered={time.time_ns()}")

    def lives(self, pool: str) -> dict[str, int]:
        """Restarts of each pod's containers by the pod's uid: equal before and after, nothing happened to them."""
        return {
            pod["metadata"]["uid"]: sum(
                each["restartCount"]
                for kind in ("containerStatuses", "initContainerStatuses")
                for each in pod["status"].get(kind, ())
            )
            for pod in self.pods(pool)
        }

    def serving(self, pool: str) -> int:
        """Pods that the Service sends clients to."""
        slices = self.all("endpointslices", f"kubernetes.io/service-name={naming.service(pool)}")
        ends = [end for each in slices for end in each.get("endpoints") or ()]
        return sum(bool(end["conditions"].get("ready")) for end in ends)

    def inventory(self) -> set[tuple[str, str]]:
        """Kind and name of every object here, of whatever kind, but for events."""
        kinds = self.site.kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
        chosen = ",".join(kind for kind in kinds if not kind.startswith("events"))
        items = json.loads(self.kubectl("get", chosen, "--output=json", "--ignore-not-found") or '{"items": []}')
        return {(each["kind"], each["metadata"]["name"]) for each in items["items"]}

    def wait(self, fulfilled: Callable[[], object], what: str, seconds: float = DEADLINE) -> None:
        """Wait until something is true here; a read that fails meanwhile is an answer of no."""

        def missing() -> str:
            try:
                return "" if fulfilled() else what
            except Problem as problem:
                return f"{what}: {problem}"

        until(missing, seconds, PAUSE)

    def delete(self, *pools: str) -> None:
        """Delete pools and wait until nothing of them is left."""
        self.kubectl("delete", KIND, *pools, "--ignore-not-found")
        for pool in pools:
            self.wait(lambda pool=pool: not self.of(pool), f"nothing left of {pool}")

    def of(self, pool: str) -> set[tuple[str, str]]:
        """The objects that carry the pool's name, and its pods."""
        names = naming
        own = {
            names.service(pool),
            names.deployment(pool),
            names.grants_config_map(pool),
            names.connection_secret(pool),
            names.direct_secret(pool),
        }
        kinds = "services,deployments,replicasets,configmaps,secrets,poddisruptionbudgets,pods"
        items = self.all(kinds)
        return {
            (each["kind"], each["metadata"]["name"])
            for each in items
            if each["metadata"]["name"] in own or each["metadata"].get("labels", {}).get(names.LABEL_POOL) == pool
        }


def pool(name: str, most: int = 10, **spec: Any) -> Object:
    """A pool on the namespace's PostgreSQL, as in README, with more or other fields of spec."""
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "metadata": {"name": name},
        "spec": {
            "backend": {"host": "postgres"},
            "databases": [{"name": "shop"}],
            "users": [USER],
            "serverConnections": {"max": most},
            **spec,
        },
    }
