"""The API server's audit log: who did what, one JSON event a line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.localcluster.deploy import NAMESPACE, RELEASE

OPERATOR = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the API server has answered. resource: with its subresource, as `pods/status`.

    denied: by RBAC. A namespace that is going answers 403 as well, whatever one's rights.
    """

    user: str
    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    code: int
    denied: bool
    pod: str
    at: str

    @property
    def writes(self) -> bool:
        """Whether it was to change something, other than the leader's lease."""
        return self.verb in WRITES and self.resource != "leases"


@dataclass(frozen=True, slots=True)
class Audit:
    """The log from an offset on."""

    path: Path
    offset: int

    @classmethod
    def since_now(cls, path: Path) -> "Audit":
        """Only what comes from now on."""
        return cls(path, path.stat().st_size)

    def now(self) -> "Audit":
        """The same log, from now on."""
        return Audit.since_now(self.path)

    def requests(self, user: str = OPERATOR) -> Iterator[Request]:
        """What the user asked for, in order, once each."""
        seen: set[str] = set()
        with self.path.open("rb") as log:
            log.seek(self.offset)
            for line in log:
                if not line.endswith(b"\n") or user.encode() not in line:
                    continue  # half a line, or somebody else's
                event = json.loads(line)
                if event["user"].get("username") == user and event["auditID"] not in seen:
                    seen.add(event["auditID"])
                    yield _request(event)


def _request(event: dict[str, Any]) -> Request:
    of = event.get("objectRef", {})
    resource = of.get("resource", "") + (f"/{of['subresource']}" if "subresource" in of else "")
    extra = event["user"].get("extra", {})
    return Request(
        user=event["user"]["username"],
        verb=event["verb"],
        group=of.get("apiGroup", ""),
        resource=resource,
        namespace=of.get("namespace", ""),
        name=of.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        denied=event.get("annotations", {}).get("authorization.k8s.io/decision") != "allow",
        pod=next(iter(extra.get("authentication.kubernetes.io/pod-name", [])), ""),
        at=event["requestReceivedTimestamp"],
    )
