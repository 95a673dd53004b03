"""A pod in memory with its agent: runs what it is told and says so. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.agent_state import AgentState, Finding
from pgbouncer_operator.protocol.intent import Intent

Body = dict[str, Any]
REFUSED, BROKEN = "refused", "broken"  # hosts: PgBouncer takes no such configuration; nobody can log in there


@dataclass
class Pod:
    """A pod and its agent. template: hash of the pod template it was made of."""

    body: Body
    template: str
    digest: str = ""
    seq: int = 0
    cap: int = 0
    holds: int = 0
    refuses: str = ""
    host: str = ""

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])

    @property
    def terminating(self) -> bool:
        return "deletionTimestamp" in self.body["metadata"]

    @property
    def ready(self) -> bool:
        return bool(self.digest and self.cap)

    @property
    def told(self) -> str:
        """Hash that the pod's annotation names."""
        return str(self.body["metadata"].get("annotations", {}).get(naming.ANNOTATION_CONFIG, ""))

    def state(self) -> AgentState:
        fine, out = Finding(True), Finding(False, "BackendUnreachable", f"{self.host}: connection refused")
        problems = (Finding(False, "CandidateRefused", "PgBouncer refuses it"),) if self.refuses else ()
        backend = out if self.host == BROKEN else fine
        return AgentState(
            self.body["metadata"]["uid"], "running", self.digest, self.seq, self.cap, self.holds, 0, 0, 0,
            problems, {"shop": fine}, backend, "1.26.1", "reload", 0.1,
        )  # fmt: skip

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
