"""A pod in memory with its agent: runs what it is told and says so. Pure."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.intent import Intent
from pgbouncer_operator.protocol.reasons import BackendReason, Phase, ProblemReason
from pgbouncer_operator.protocol.state import AgentProblem, AgentState, BackendTest, UserState

Body = dict[str, Any]
REFUSED, BROKEN = "refused", "broken"  # hosts: PgBouncer takes no such configuration; nobody can log in there


def merged(live: Mapping[str, Any], patch: Mapping[str, Any]) -> Body:
    """The object with the patch's fields; null removes."""
    result = dict(live)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            before = result.get(key)
            result[key] = merged(before if isinstance(before, Mapping) else {}, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


@dataclass
class Pod:
    """A pod and its agent. template: hash of the pod template it was made of."""

    body: Body
    template: str
    digest: str = ""
    seq: int = 0
    cap: int = 0
    holds: int = 0
    keeps: int | None = None
    refuses: str = ""
    host: str = ""

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])

    @property
    def terminating(self) -> bool:
        return "deletionTimestamp" in self.body["metadata"]

    @property
    def labelled(self) -> bool:
        """Whether it has the pool's label: the watch brings it, and the Deployment counts it."""
        return naming.LABEL_POOL in self.body["metadata"]["labels"]

    @property
    def ready(self) -> bool:
        return bool(self.digest and self.cap)

    @property
    def told(self) -> str:
        """Hash that the pod's annotation names."""
        return str(self.body["metadata"].get("annotations", {}).get(naming.ANNOTATION_CONFIG, ""))

    def state(self) -> AgentState:
        out = BackendTest(BackendReason.UNREACHABLE, f"{self.host}: connection refused")
        refused = AgentProblem(ProblemReason.CANDIDATE_REFUSED, "PgBouncer refuses it")
        return AgentState(
            self.uid,
            "1",
            "1.26.1",
            Phase.RUNNING,
            self.digest,
            self.seq,
            self.cap,
            self.keeps,
            open=self.holds,
            problems=(refused,) if self.refuses else (),
            users={"shop": UserState(True, "", "")},
            backend=out if self.host == BROKEN else BackendTest(BackendReason.OK),
        )

    def hand_over(self) -> None:
        """Leave: keep half, and say so."""
        self.cap = self.holds = max(min(self.cap, 1), self.cap // 2)
        self.keeps = self.cap

    def load(self, documents: Mapping[str, str]) -> None:
        """Do as the agent does: run what the annotation names, or current; keep what runs if that is refused."""
        found = [documents[key] for key in (naming.INTENT_KEY, naming.CANDIDATE_KEY) if key in documents]
        for intent in map(Intent.from_json, found):
            if self.told not in {"", intent.digest}:
                continue
            self.refuses = intent.digest if intent.databases[0].host == REFUSED else ""
            if not self.refuses:
                self.digest, self.host = intent.digest, intent.databases[0].host
            return
