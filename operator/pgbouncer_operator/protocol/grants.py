"""How many server connections each pod may hold: the ConfigMap's `grants.json`, and how a pod shares its cap out.

Pure. The ledger's arithmetic over pods is the sizing package's; here is its wire format and the split inside one pod.
"""

import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pgbouncer_operator.protocol.document import PROTOCOL, Document, DocumentError


class GrantsError(ValueError):
    """The document is no ledger, or a cap cannot be shared out; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One pod's right. cap: most server connections it may hold. seq: the ledger's sequence when this cap was set.

    high: highest cap that the pod may still act on; it falls to `cap` once the pod has confirmed. gone: Unix seconds
    at which the pod was first missed without any sign of its end, 0 while it is there.
    """

    cap: int
    seq: int
    high: int
    gone: int = 0


@dataclass(frozen=True, slots=True)
class Grants:
    """A pool's ledger. pods: by pod uid. static: the cap of a pod that waited 10 s for a grant in vain, or 0.

    peers: address of every pod by its uid, also of those that drain: a client's cancel may arrive at any of them.
    peers_seq: the ledger's sequence when peers were set. server: the PostgresServer whose allocation of round
    `allocation` the caps were made from; agents do not look at either.
    """

    seq: int
    static: int
    pods: Mapping[str, Grant]
    peers: Mapping[str, str] = field(default_factory=dict)
    peers_seq: int = 0
    server: str = ""
    allocation: int = 0

    def concerning(self, uid: str) -> int:
        """The sequence of the last word that this pod has something to learn from; a pod that waits hopes for each."""
        grant = self.pods.get(uid)
        return max(grant.seq, self.peers_seq) if grant and grant.cap else self.seq

    def to_json(self) -> str:
        """Pretty JSON with sorted keys and a last newline: the same bytes for the same ledger."""
        pods = {uid: _written(each) for uid, each in self.pods.items()}
        document = {"protocol": PROTOCOL, "seq": self.seq, "static": self.static, "pods": pods}
        if self.peers:
            document |= {"peers": dict(self.peers), "peersSeq": self.peers_seq}
        if self.server:
            document |= {"server": self.server, "allocation": self.allocation}
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str) -> "Grants":
        """Read `grants.json`. Unknown keys are ignored. GrantsError names the field that is wrong."""
        try:
            return _read(Document.parse(text))
        except DocumentError as error:
            raise GrantsError(str(error)) from None


def split(
    cap: int, databases: Sequence[tuple[str, int | None]], demand: Mapping[str, float] | None = None
) -> dict[str, int]:
    """Share a pod's cap over its databases: name to server connections.

    databases: (name, its own maximum or None). demand: connections each could use now, absent means 0.
    Every database gets at least 1, because PgBouncer reads 0 as unlimited. The rest goes in proportion to 1 + demand,
    up to each maximum; the sum never passes the cap. Ties go to the database named first.
    GrantsError when the cap is smaller than the number of databases.
    """
    if not databases:
        return {}
    if cap < len(databases):
        raise GrantsError(
            f"{cap} server connections cannot be shared by {len(databases)} databases, each needs 1: "
            "raise serverConnections.max, run fewer pods or serve fewer databases"
        )
    weights = [1.0 + max(0.0, (demand or {}).get(name, 0.0)) for name, _ in databases]
    shares = [1] * len(databases)
    queue = [(1 / weight, index) for index, weight in enumerate(weights)]
    heapq.heapify(queue)
    left = cap - len(databases)
    while left and queue:
        _, index = heapq.heappop(queue)
        most = databases[index][1]
        if most is not None and shares[index] >= most:
            continue
        shares[index] += 1
        left -= 1
        heapq.heappush(queue, (shares[index] / weights[index], index))
    return {name: share for (name, _), share in zip(databases, shares, strict=True)}


def _read(document: Document) -> Grants:
    pods = document.child("pods")
    peers = document.child("peers") if document.members.get("peers") else Document({}, "peers")
    return Grants(
        seq=document.integer("seq", 0),
        static=document.integer("static", 0),
        pods={uid: _grant(pods.child(uid)) for uid in pods.members},
        peers={uid: peers.text(uid) for uid in peers.members},
        peers_seq=document.optional_integer("peersSeq", 0) or 0,
        server=document.optional_text("server") or "",
        allocation=document.optional_integer("allocation", 0) or 0,
    )


def _grant(document: Document) -> Grant:
    return Grant(
        cap=document.integer("cap", 0),
        seq=document.integer("seq", 0),
        high=document.integer("high", 0),
        gone=document.optional_integer("gone", 0) or 0,
    )


def _written(grant: Grant) -> dict[str, int]:
    found = {"cap": grant.cap, "seq": grant.seq, "high": grant.high}
    return found | {"gone": grant.gone} if grant.gone else found
