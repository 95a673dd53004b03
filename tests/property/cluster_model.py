"""A cluster in memory, pure: it performs plans' steps, runs Deployments' pods, and has agents that follow when told.

Pods are started and stopped as a Deployment's controller may; ReplicaSets ignore terminating pods. Time is a number.
"""

import base64
import copy
import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tests.property.pod_model import Body, Pod, merged

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.status import previous
from pgbouncer_operator.pgbouncer.session import OUTLIVES
from pgbouncer_operator.protocol.grants import Grants, GrantsError
from pgbouncer_operator.reconcile.budget.ledger import ledger
from pgbouncer_operator.reconcile.cache import projections
from pgbouncer_operator.reconcile.cache.workloads import ClientReplicas
from pgbouncer_operator.reconcile.memory import LostPod, Memory, Presence, Refusal, SecretsRead
from pgbouncer_operator.reconcile.observed import Credentials, Observation, Observed, WrittenSecret, with_spec
from pgbouncer_operator.reconcile.pause import pause
from pgbouncer_operator.reconcile.specification import read
from pgbouncer_operator.reconcile.steps import Action, Plan, Step
from pgbouncer_operator.resources.login import Login
from pgbouncer_operator.sizing.ledger import relief

CANARY = "c4n4ry:/?#pass"
POOL_UID = "pool-uid"
EPOCH = 1_767_225_600  # Unix seconds when our clock is 0


@dataclass
class Cluster:
    """Everything of one namespace. pool: the ConnectionPool.

    ended: uids of pods that the operator has seen end. lost: pods whose objects went without them, and since when.
    """

    pool: Body
    objects: dict[tuple[str, str], Body] = field(default_factory=dict)
    pods: list[Pod] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    now: float = 1000.0
    version: int = 1
    made: int = 0
    said: list[str] = field(default_factory=list)
    clients: ClientReplicas | None = None
    ended: set[str] = field(default_factory=set)
    lost: list[tuple[Pod, float]] = field(default_factory=list)
    missed: dict[str, LostPod] = field(default_factory=dict)

    def new_version(self) -> str:
        self.version += 1
        return str(self.version)

    # What the operator sees.

    def look(self, silent: bool = False, secrets: bool = True) -> Observed:
        """As `observe` does it."""
        view = projections.pool(self.pool)
        children = {
            key: child
            for key, body in self.objects.items()
            if key[0] != "Secret" and (child := projections.child(body)).owner == view.uid
        }
        pods = tuple(projections.pod(self._pod_body(each)) for each in self.pods if each.labelled)
        states = {pod.uid: None if silent else pod.state() for pod in self.pods}
        unlabelled = {pod.uid: states.pop(pod.uid) for pod in self.pods if not pod.labelled}
        grants = children.get(("ConfigMap", naming.grants_config_map(view.name)))
        spec, config_map = read(self.pool), children.get(("ConfigMap", naming.config_map(view.name)))
        today = datetime.fromtimestamp(EPOCH + int(self.now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        common = Observation(
            view, previous(self.pool), children, pods, states, ledger(grants, pods, states),
            None, None, self.memory, self.now, today, None,
            pause(spec, config_map, today), self.clients,
            ended=frozenset(self.ended),
        )  # fmt: skip
        lost = self._asked_for(common)
        asked = {uid: state for uid, state in unlabelled.items() if uid in lost}
        observed = with_spec(replace(common, lost=lost, unlabelled_states=asked), spec)
        if not secrets:
            return observed
        found = {key[1]: self._written(body) for key, body in self.objects.items() if key[0] == "Secret"}
        login = Credentials({user.name: Login("app", CANARY) for user in spec.spec.users}, "v1")
        observed = replace(observed, credentials=login, secrets=found)
        return observed.remember(reading=SecretsRead(self.now, "", None, {}))

    def _asked_for(self, common: Observation) -> Mapping[str, LostPod]:
        lost = common.charged_lost - common.ended
        self.missed = {uid: self.missed.get(uid, LostPod("", Presence.GONE, self.now)) for uid in lost}
        found = [projections.pod(self._pod_body(each), "shop") for each in self.pods if each.uid in lost]
        there = {pod.uid: LostPod(pod.name, Presence.EXISTS, self.now, unlabelled=pod) for pod in found}
        self.missed = {uid: each for uid, each in self.missed.items() if uid not in there}
        return self.missed | there

    def _written(self, body: Body) -> WrittenSecret:
        metadata = body["metadata"]
        owner = next((each["uid"] for each in metadata.get("ownerReferences", ())), "")
        return WrittenSecret(metadata["uid"], metadata["resourceVersion"], owner, body)

    def _pod_body(self, pod: Pod) -> Body:
        conditions = [{"type": "Ready", "status": "True" if pod.ready else "False"}]
        return {
            **pod.body,
            "spec": {"nodeName": "node"},
            "status": {"podIP": "198.18.0.9", "phase": "Running", "conditions": conditions},
        }

    # What the operator does.

    def perform(self, plan: Plan, steps: int | None = None) -> None:
        """Run the plan, or only its first steps, and then the operator is gone with its memory."""
        memory = plan.memory
        self.said += [f"{each.reason} {each.message}" for each in plan.announcements]
        for done, step in enumerate(plan.steps):
            if steps is not None and done >= steps:
                break
            if (refusal := self._perform(step)) is not None:
                memory = replace(memory, refusals={**memory.refusals, step.key: refusal})
        self.memory = memory if steps is None else Memory()
        if steps is not None:
            self.ended.clear()
            self.missed.clear()

    def _perform(self, step: Step) -> Refusal | None:
        body = copy.deepcopy(dict(step.body))
        self.said.append(f"{step!r} {step}")
        if body["kind"] != "Secret":
            self.said.append(json.dumps(body))
        if body["kind"] == naming.KIND:
            self.pool = {**self.pool, "status": body["status"]}
            return None
        if body["kind"] == "Pod":
            pod = next((each for each in self.pods if each.body["metadata"]["uid"] == body["metadata"]["uid"]), None)
            if pod is not None:
                pod.body = merged(pod.body, body)
            return None
        live = self.objects.get(step.key)
        if step.action is Action.CREATE:
            if live is not None:
                return Refusal(Reason.NAME_CONFLICT, "it exists and is not ours", self.now)
            self._put(body, posted=True)
            return None
        assert live is not None, f"{step}: there is no such object"
        assert self._owner(live) == POOL_UID, f"{step}: it belongs to somebody else"
        self._change(step, live, body)
        return None

    def _change(self, step: Step, live: Body, body: Body) -> None:
        for fact in ("uid", "resourceVersion"):
            given = body["metadata"].get(fact)
            assert given in {None, live["metadata"][fact]}, f"{step}: it is meant for another {fact}"
        match step.action:
            case Action.DELETE:
                assert {"uid", "resourceVersion"} <= set(body["metadata"]), f"{step} could hit another object"
                del self.objects[step.key]
            case Action.REPLACE:
                assert "resourceVersion" in body["metadata"], f"{step} is no compare-and-swap"
                self._put(merged({}, body), uid=live["metadata"]["uid"])
            case _:
                assert "uid" in body["metadata"], f"{step} could make or hit another object"
                data = {"data": body["data"]} if "data" in body else {}  # keys that are applied no more are removed
                self._put(merged(live, body) | data, uid=live["metadata"]["uid"])

    def _put(self, body: Body, posted: bool = False, uid: str = "") -> None:
        self.made += 1
        operation = "Update" if posted else "Apply"
        body["metadata"] |= {
            "uid": uid or f"uid-{self.made}",
            "resourceVersion": self.new_version(),
            "managedFields": [{"manager": naming.FIELD_MANAGER, "operation": operation}],
        }
        self.objects[body["kind"], body["metadata"]["name"]] = body

    @staticmethod
    def _owner(body: Body) -> str:
        return next((each["uid"] for each in body["metadata"].get("ownerReferences", ())), "")

    # What the cluster does.

    @property
    def deployment(self) -> Body | None:
        return self._ours("Deployment", naming.deployment(self.pool["metadata"]["name"]))

    def _ours(self, kind: str, name: str) -> Body | None:
        """Our object; somebody else's of that name has a shape that the pods cannot use."""
        body = self.objects.get((kind, name))
        return body if body is not None and self._owner(body) == POOL_UID else None

    def control(self) -> bool:
        """One move of the Deployment's controller; whether there was any."""
        if self.deployment is None:
            return False
        spec = self.deployment["spec"]
        template = hashlib.sha256(json.dumps(spec["template"], sort_keys=True).encode()).hexdigest()
        living = [pod for pod in self.pods if not pod.terminating and pod.labelled]
        old = [pod for pod in living if pod.template != template]
        wanted, limits = spec["replicas"], spec["strategy"]["rollingUpdate"]
        ready = sum(pod.ready for pod in living)
        new = len(living) - len(old)
        moved = True
        if new < wanted and len(living) < wanted + (limits["maxSurge"] if old else 0):
            self._start(spec, template)
        elif len(living) > wanted and not old:
            self._stop(living[-1])
        elif old and (len(living) > wanted or not old[0].ready or ready > wanted - limits["maxUnavailable"]):
            self._stop(next((pod for pod in old if not pod.ready), old[0]))
        else:
            moved = False
        self._tell()
        return moved

    def _tell(self) -> None:
        assert self.deployment is not None
        template = json.dumps(self.deployment["spec"]["template"], sort_keys=True).encode()
        living = [pod for pod in self.pods if not pod.terminating and pod.labelled]
        updated = sum(pod.template == hashlib.sha256(template).hexdigest() for pod in living)
        self.deployment["status"] = {"replicas": len(living), "updatedReplicas": updated}

    def _start(self, spec: Body, template: str) -> None:
        self.made += 1
        metadata = copy.deepcopy(spec["template"]["metadata"]) | {
            "name": f"pod-{self.made}",
            "namespace": self.pool["metadata"]["namespace"],
            "uid": f"pod-uid-{self.made}",
            "resourceVersion": self.new_version(),
        }
        self.pods.append(Pod({"metadata": metadata}, template))

    def _stop(self, pod: Pod) -> None:
        pod.body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    def follow(self, place: int) -> None:
        """One agent reads what is mounted now, installs it and takes at once what it may; then it gives back."""
        if not self.pods:
            return
        pod = self.pods[place % len(self.pods)]
        if pod.terminating:
            pod.hand_over()
            return
        name = self.pool["metadata"]["name"]
        mounted = self._ours("ConfigMap", naming.config_map(name))
        granted = self._ours("ConfigMap", naming.grants_config_map(name))
        if granted is not None:
            with suppress(GrantsError):  # it keeps what it has
                self._obey(pod, Grants.from_json(granted["data"][naming.GRANTS_KEY]))
        if mounted is not None and pod.cap:
            pod.load(mounted["data"])

    def _obey(self, pod: Pod, grants: Grants) -> None:
        if grants.seq < pod.seq:
            return
        entry = grants.pods.get(pod.body["metadata"]["uid"])
        if entry is not None and entry.cap:
            pod.seq, pod.cap, pod.holds = grants.seq, entry.cap, entry.cap
        else:
            pod.seq = grants.seq  # one that waits says what it has read, too

    def leave(self) -> None:
        """Drains end, and the operator sees it."""
        self.ended |= {pod.uid for pod in self.pods if pod.terminating and pod.labelled}
        self.pods = [pod for pod in self.pods if not pod.terminating]

    def vanish(self, place: int) -> None:
        """A pod is deleted by force: PostgreSQL counts its sessions a while longer."""
        pod = self.pods.pop(place % len(self.pods))
        self.lost.append((pod, self.now))

    def relabel(self, place: int) -> None:
        """A pod loses the pool's label, or has it back."""
        labels = self.pods[place % len(self.pods)].body["metadata"]["labels"]
        if labels.pop(naming.LABEL_POOL, None) is None:
            labels[naming.LABEL_POOL] = self.pool["metadata"]["name"]

    def held(self) -> int:
        """Connections that PostgreSQL counts now."""
        haunting = [pod for pod, since in self.lost if self.now - since <= OUTLIVES]
        return sum(pod.holds for pod in (*self.pods, *haunting))

    def relief(self) -> float | None:
        """The time at which the ledger's next tombstone goes, of a pod that does not exist."""
        body = self._ours("ConfigMap", naming.grants_config_map(self.pool["metadata"]["name"]))
        pods = Grants.from_json(body["data"][naming.GRANTS_KEY]).pods if body is not None else {}
        there = {pod.uid for pod in self.pods}
        gone = [each for uid, each in pods.items() if each.gone and uid not in there]
        return min((float(relief(each) - EPOCH) for each in gone), default=None)

    def secret(self, name: str) -> dict[str, str]:
        """A connection Secret's keys, decoded."""
        return {key: base64.b64decode(each).decode() for key, each in self.objects["Secret", name]["data"].items()}
