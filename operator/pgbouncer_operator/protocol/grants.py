"""`grants.json`: how many server connections each pod may hold. The operator writes it, the agent reads it.

Pure. sizing/ledger.py decides the grants of pods. `split` shares a pod's grant between its databases.
"""

import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pgbouncer_operator.protocol.document import PROTOCOL, Document, DocumentError

MOST = 2**18 - 1
"""The highest `cap`: PostgreSQL takes no more connections (MAX_BACKENDS in src/include/storage/procnumber.h)."""
COUNT = 2**53
"""The highest of all other numbers: every reader of JSON keeps it exact."""


class GrantsError(ValueError):
    """The document is no ledger, or a cap is too small for its databases. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The grant of one pod."""

    cap: int
    """The most server connections that the pod may hold; 0 while it waits for a grant."""
    seq: int
    """Sequence of the ledger that set `cap`."""
    high: int
    """The highest cap that the pod may still use: it falls to `cap` when the pod has confirmed `seq`."""
    gone: int = 0
    """When the pod's object was first missed while the pod may still run, in Unix seconds; 0 while it exists."""
    pod: str = ""
    """The pod's name, by which the operator asks for it once it is missed; empty while unknown. Agents ignore it."""


@dataclass(frozen=True, slots=True)
class Grants:
    """A pool's ledger."""

    seq: int
    """Sequence of the ledger: it grows with each write."""
    static: int
    """The cap of a pod that has waited too long without a grant; 0 for none."""
    pods: Mapping[str, Grant]
    """By pod uid."""
    peers: Mapping[str, str] = field(default_factory=dict)
    """Address of every pod by its uid. Draining pods too: a client's cancel request may arrive at any pod."""
    peers_seq: int = 0
    """Sequence of the ledger that set `peers`."""
    server: str = ""
    """The PostgresServer that the caps are allocated from, as namespace/name; empty for none. Agents ignore it."""
    allocation: int = 0
    """Round of the server's allocation. Agents ignore it."""
    size: int = 0
    """Server connections that the caps were made within; 0 while unknown. Agents ignore it."""
    reached: str = ""
    """The server's host and port, once no connection can be at a former one; empty otherwise. Agents ignore it."""

    def concerning(self, uid: str) -> int:
        """The last sequence that changed something for this pod. For a pod without a grant it is the ledger's own."""
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
        if self.size:
            document["size"] = self.size
        if self.reached:
            document["reached"] = self.reached
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str) -> "Grants":
        """Read `grants.json`. Raises GrantsError that names the field."""
        try:
            return _read(Document.parse(text))
        except DocumentError as error:
            raise GrantsError(str(error)) from None


def split(
    cap: int, databases: Sequence[tuple[str, int | None]], demand: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Share a pod's cap between its databases. Returns server connections by name.

    databases: (name, its own maximum or None). demand: by name, connections that the database could use; absent is 0.
    Every database gets at least 1, because 0 means unlimited (max_db_connections in
    https://www.pgbouncer.org/config.html). The rest goes to those that have least, first up to each demand, then up to
    each maximum. So a database has its demand or as much as any other. The sum is at most the cap. Of equal databases
    the first gets more.
    Raises GrantsError when the cap is smaller than the number of databases.
    """
    if not databases:
        return {}
    if cap < len(databases):
        raise GrantsError(
            f"{cap} server connections cannot be shared by {len(databases)} databases, each needs 1: "
            "raise serverConnections.max, run fewer pods or serve fewer databases"
        )
    maxima = [cap if most is None else most for _, most in databases]
    wanted = [min((demand or {}).get(name, 0), most) for (name, _), most in zip(databases, maxima, strict=True)]
    shares = _filled(_filled([1] * len(databases), wanted, cap), maxima, cap)
    return {name: share for (name, _), share in zip(databases, shares, strict=True)}


def _filled(shares: Sequence[int], most: Sequence[int], cap: int) -> list[int]:
    """The shares, raised one by one up to `most`, always the lowest first, until their sum is the cap."""
    filled, left = list(shares), cap - sum(shares)
    queue = [(share, index) for index, share in enumerate(shares) if share < most[index]]
    heapq.heapify(queue)
    while left and queue:
        share, index = heapq.heappop(queue)
        filled[index], left = share + 1, left - 1
        if share + 1 < most[index]:
            heapq.heappush(queue, (share + 1, index))
    return filled


def _read(document: Document) -> Grants:
    pods = document.child("pods")
    peers = document.child("peers") if document.members.get("peers") else Document({}, "peers")
    return Grants(
        seq=document.integer("seq", 0, COUNT),
        static=document.integer("static", 0, MOST),
        pods={uid: _grant(pods.child(uid)) for uid in pods.members},
        peers={uid: peers.text(uid) for uid in peers.members},
        peers_seq=document.optional_integer("peersSeq", 0, COUNT) or 0,
        server=document.optional_text("server") or "",
        allocation=document.optional_integer("allocation", 0, COUNT) or 0,
        size=document.optional_integer("size", 0, MOST) or 0,
        reached=document.optional_text("reached") or "",
    )


def _grant(document: Document) -> Grant:
    return Grant(
        cap=document.integer("cap", 0, MOST),
        seq=document.integer("seq", 0, COUNT),
        high=document.integer("high", 0, MOST),
        gone=document.optional_integer("gone", 0, COUNT) or 0,
        pod=document.optional_text("pod") or "",
    )


def _written(grant: Grant) -> dict[str, int | str]:
    document: dict[str, int | str] = {"cap": grant.cap, "seq": grant.seq, "high": grant.high}
    document |= {"gone": grant.gone} if grant.gone else {}
    return document | {"pod": grant.pod} if grant.pod else document
