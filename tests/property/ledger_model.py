"""Pods that are adversarial but lawful, and operators that look, crash and write late: what the ledger must survive.

A pod may hold anything up to the highest cap it has ever applied and not yet given back. It applies ledgers in order of
their sequence, after any delay, and may skip some. A terminating pod gets nothing new and may lower its own cap at any
time; so may one whose PgBouncer is restarted. That one serves again, under the cap that it has lowered, even where it
was deleted meanwhile; it has then read the newest ledger that comes to it. A pod that is deleted by force goes on
unseen, and PostgreSQL counts its sessions for as long as they can last. A pod that loses its label goes on, is asked
and reads ledgers; nobody sees it end, and it may have its label back.
Operators look (some pods do not answer), and write later or never, by compare-and-swap; two may be at it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pgbouncer_operator.pgbouncer.session import OUTLIVES
from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.sizing.fit import Fit, FitRequest, fit
from pgbouncer_operator.sizing.ledger import LedgerTerms, PodUse, Round

Allocate = Callable[[Grants, Sequence[PodUse], LedgerTerms], Round]
Op = tuple[str, int, int]


class Violation(AssertionError):
    """The promise is broken; the message says by which step."""


@dataclass
class Pod:
    """cap: the limit it runs under. holds: connections it has now. given: it lowers its own cap and listens no more.

    keeps: what it says that it keeps for good. bound: it serves again, and only a grant of a ledger after this one
    gives it back what it lowered. lost: when its object went without it, 0 while it is there.
    """

    uid: str
    seq: int = 0
    cap: int = 0
    holds: int = 0
    terminating: bool = False
    given: bool = False
    bound: int = 0
    keeps: int | None = None
    last_seq: int = 10**9  # the newest ledger it can still receive
    address: str = ""
    lost: int = 0
    unlabelled: bool = False
    peers: Mapping[str, str] = field(default_factory=dict)

    def lower(self, kind: str, two: int) -> None:
        """give: it comes below its cap. drain: it lowers its own cap. serve: its PgBouncer is there again."""
        if kind == "drain" and self.cap:
            self.given, self.cap = True, min(self.cap, two)
        if kind == "serve" and self.given:
            self.given, self.keeps, self.bound = False, None, self.last_seq if self.terminating else self.seq
        if kind == "give" or (kind == "drain" and two % 2):
            self.holds = min(self.holds, self.cap)
        if self.given and kind != "serve":
            self.keeps = max(self.cap, self.holds)

    def apply(self, ledger: Grants) -> None:
        entry = ledger.pods.get(self.uid)
        self.seq, self.peers = ledger.seq, ledger.peers
        if entry is not None and entry.cap > 0:
            self.cap = entry.cap if entry.seq > self.bound else min(entry.cap, self.cap)
            self.bound = 0 if entry.seq > self.bound else self.bound
            self.holds = max(self.holds, self.cap)  # adversarial: it takes at once what it may


@dataclass
class Look:
    """What an operator saw."""

    ledger: Grants
    pods: list[PodUse]
    limits: LedgerTerms


@dataclass
class World:
    """One pool. strict: an operator always looks in time, so that no pod helps itself to the static share.

    now: Unix seconds. ended: pods that an operator has seen end, for as long as it lives.
    """

    allocate: Allocate
    size: int
    databases: int
    replicas: int
    strict: bool
    rolling: bool = False
    lowered: bool = False
    born: int = 0
    now: int = 1_000
    ended: set[str] = field(default_factory=set)
    pods: dict[str, Pod] = field(default_factory=dict)
    ledgers: list[Grants] = field(default_factory=lambda: [Grants(seq=1, static=0, pods={})])
    looks: dict[int, Look] = field(default_factory=dict)

    @property
    def fit(self) -> Fit:
        return fit(FitRequest(self.size, self.replicas, self.databases, {}))

    @property
    def limits(self) -> LedgerTerms:
        room = self.fit
        living = sum(not (pod.terminating or pod.lost or pod.unlabelled) for pod in self.pods.values())
        slots = max(living, room.replicas + (room.surge if self.rolling else 0))
        # An operator waits from its own first miss of the object: the tombstone is as old as the loss of the label.
        lasting = frozenset(pod.uid for pod in self.pods.values() if pod.lost and pod.unlabelled)
        return LedgerTerms(self.size, room.floor, slots, room.static, now=self.now, lasting=lasting)

    def may_hold(self, pod: Pod) -> int:
        """The most this pod can come to hold by what it has and by what was already written."""
        last = pod.given and pod.terminating
        to_come = [] if last else [each for each in self.ledgers if pod.seq < each.seq <= pod.last_seq]
        entries = [each.pods[pod.uid] for each in to_come if pod.uid in each.pods]
        return max([pod.holds, pod.cap, *(each.cap for each in entries if each.seq > pod.bound)])

    def committed(self) -> int:
        return sum(map(self.may_hold, self.pods.values()))

    def really(self) -> int:
        return sum(max(pod.holds, pod.cap) for pod in self.pods.values())

    def uses(self, silent: int) -> list[PodUse]:
        uses = [PodUse(uid, terminating=True, ended=True) for uid in sorted(self.ended)]
        for place, pod in enumerate(self.pods.values()):
            if pod.lost:
                continue
            serves, expected = bool(pod.cap), not pod.address
            use = PodUse(pod.uid, pod.terminating, address=pod.address, serves=serves, expected=expected)
            use = replace(use, unlabelled=pod.unlabelled)
            known = replace(use, seq=pod.seq, cap=pod.cap, open=pod.holds, keeps=pod.keeps)
            uses.append(use if silent >> place & 1 else known)
        return uses

    def run(self, ops: Sequence[Op]) -> None:
        """Do every step; Violation at the first that lets more be held than the budget allows."""
        for op in ops:
            self.step(op)

    def step(self, op: Op) -> None:
        before, bound = self.committed(), 0
        if op[0] == "write" and op[1] % 2 in self.looks:
            bound = self.looks[op[1] % 2].limits.size
        self._do(op)
        after = self.committed()
        if op[0] != "static" and after > max(before, bound):
            raise Violation(f"{op} lets the pods hold {after}, before {before}, of a budget of {bound or self.size}")
        if self.strict and not self.lowered and self.really() > self.size:
            raise Violation(f"after {op} the pods hold {self.really()} of {self.size}")
        self._nobody_misses_what_concerns_him(op)

    def _nobody_misses_what_concerns_him(self, op: Op) -> None:
        """A pod that is not told of a write because it has nothing to learn has indeed nothing to learn."""
        newest = self.ledgers[-1]
        for pod in self.pods.values():
            entry = newest.pods.get(pod.uid)
            if (
                pod.lost
                or entry is None
                or not entry.cap
                or pod.given
                or pod.bound
                or pod.terminating
                or pod.seq < newest.concerning(pod.uid)
            ):
                continue
            if pod.cap != entry.cap or pod.peers != newest.peers:
                raise Violation(f"after {op} nobody tells {pod.uid} of {entry} and {newest.peers}: {pod}")

    def _do(self, op: Op) -> None:
        kind, one, two = op
        pods = list(self.pods.values())
        pod = pods[one % len(pods)] if pods else None
        match kind:
            case "born" if len(pods) < 7:
                self.born += 1
                name = f"pod-{self.born}"
                self.pods[name] = Pod(name, address=name if two % 2 else "")
            case "look":
                self.looks[one % 2] = Look(self.ledgers[-1], self.uses(two), self.limits)
            case "write":
                self._write(self.looks.pop(one % 2, None))
            case "crash":
                self.looks.clear()
                self.ended.clear()
            case "wait":
                self._wait(1 + two)
            case "replicas" | "roll" | "budget":
                self._spec(kind, two)
            case _ if pod is not None:
                self._pod(kind, pod, two)

    def _spec(self, kind: str, two: int) -> None:
        match kind:
            case "replicas":
                self.replicas = 1 + two % 5
            case "roll":
                self.rolling = not self.rolling
            case "budget":
                wanted = 1 + two % 60
                self.lowered |= wanted < self.size
                if wanted > self.size or not self.strict:
                    self.size = wanted

    def _pod(self, kind: str, pod: Pod, two: int) -> None:
        if kind != "terminate":
            pod.address = pod.uid
        match kind:
            case "terminate":
                pod.terminating = True
                pod.last_seq = min(pod.last_seq, self.ledgers[-1].seq)
            case "gone" if pod.terminating and not pod.lost and not pod.unlabelled:
                del self.pods[pod.uid]
                self.ended.add(pod.uid)
            case "unlabel" if not pod.lost and pod.uid in self.ledgers[-1].pods:
                pod.unlabelled = not pod.unlabelled
            case "force" if not pod.lost and pod.uid in self.ledgers[-1].pods:
                pod.lost = self.now
                pod.last_seq = min(pod.last_seq, self.ledgers[-1].seq)
            case "deliver":
                self._deliver(pod, two)
            case "fill":
                pod.holds = max(pod.holds, pod.cap)
            case "give" | "drain" | "serve":
                pod.lower(kind, max(self.databases, 1 + two % 20))
            case "static" if not self.strict:
                self._help_itself(pod)

    def _wait(self, seconds: int) -> None:
        """Time passes; what nobody sees has ended when it has lasted as long as it can."""
        self.now += seconds
        over = [pod.uid for pod in self.pods.values() if pod.lost and self.now - pod.lost > OUTLIVES]
        for uid in over:
            del self.pods[uid]

    def _deliver(self, pod: Pod, two: int) -> None:
        coming = [each for each in self.ledgers if pod.seq < each.seq <= pod.last_seq]
        if coming and not pod.given:
            pod.apply(coming[two % len(coming)])

    def _help_itself(self, pod: Pod) -> None:
        """After 10 s without a grant: the newest ledger has long been mounted, and no operator is just writing."""
        newest = self.ledgers[-1]
        if pod.seq == newest.seq and not pod.cap and not pod.given and not self.looks and not pod.lost:
            pod.cap = pod.holds = newest.static

    def _write(self, look: Look | None) -> None:
        if look is None or look.ledger is not self.ledgers[-1]:
            return  # compare-and-swap: somebody else has written since
        decided = self.allocate(look.ledger, look.pods, look.limits)
        if decided.grants is look.ledger:
            return
        if decided.grants.seq <= look.ledger.seq:
            raise Violation("a ledger was written without a higher sequence: agents could not tell old from new")
        living = {use.uid for use in look.pods if not use.terminating}
        for uid, grant in decided.grants.pods.items():
            if uid in living and 0 < grant.cap < look.limits.floor:
                raise Violation(f"{uid} was given {grant.cap}: below the floor of {look.limits.floor}")
        self.ledgers.append(decided.grants)

    def calm(self) -> None:
        """Drains end, agents follow at once, an operator looks until nothing changes."""
        self.pods = {uid: pod for uid, pod in self.pods.items() if not pod.terminating or pod.lost}
        for _ in range(20):
            self._wait(OUTLIVES + 1)
            for pod in self.pods.values():
                pod.address = pod.uid
                pod.lower("serve", 0)
                pod.apply(self.ledgers[-1])
                pod.holds = min(pod.holds, pod.cap)
            ledger = self.ledgers[-1]
            self._write(Look(ledger, self.uses(0), self.limits))
            if self.ledgers[-1] is ledger:
                return
        raise Violation("the ledger does not come to rest")
