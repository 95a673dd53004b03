"""Pools that share a server, seen by operators that look at old news, write late or crash. What allocation survives.

Pods are those of the ledger's model: lawful, and adversarial within the law. Every pool's ledger is the real one. Two
operators look at the server and at pools; each look may see any of the last few versions of what it does not write.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tests.property.ledger_model import Op, Pod, Violation

from pgbouncer_operator.protocol.grants import Grants
from pgbouncer_operator.sizing.allocation import Allocations, Applicant, Entry, Terms
from pgbouncer_operator.sizing.fairness import Portion
from pgbouncer_operator.sizing.fit import FitRequest, fit
from pgbouncer_operator.sizing.ledger import LedgerTerms, PodUse, allocate, held

Allocate = Callable[[Allocations, Sequence[Applicant], Terms], Allocations]
Obeys = Callable[[Grants, Entry], bool]
SERVER = "platform/rds"
MOST_PODS = 4
SILENT = (0, 0, 0, 0, 1, 2, 15)  # which pods do not answer: mostly none
UNREADABLE = 3


def obeys(ledger: Grants, entry: Entry) -> bool:
    """Whether a pool may act on what it knows of the server: never on older news than its ledger is made from."""
    return entry.seq >= ledger.allocation


@dataclass
class Pool:
    """uid: changes when it is deleted and made anew. pods: also those of its former life."""

    name: str
    uid: int
    replicas: int
    want: int
    there: bool = True
    born: int = 0
    pods: dict[str, Pod] = field(default_factory=dict)
    ledgers: list[Grants] = field(default_factory=list)


@dataclass
class ServerLook:
    """What an operator saw of the server and of its pools."""

    version: int
    applicants: list[Applicant]
    terms: Terms


@dataclass
class PoolLook:
    """What an operator saw of a pool: its own ledger, and perhaps an older state of the server."""

    uid: int
    version: int
    entry: Entry | None
    pods: list[PodUse]
    limits: LedgerTerms


@dataclass
class World:
    """One server and its pools. swap: whether writes to the server are compared and swapped."""

    allocate: Allocate
    budget: int
    pools: dict[str, Pool]
    obeys: Obeys = obeys
    swap: bool = True
    versions: list[Allocations] = field(default_factory=lambda: [Allocations(0, {})])
    server_looks: dict[int, ServerLook] = field(default_factory=dict)
    pool_looks: dict[tuple[int, str], PoolLook] = field(default_factory=dict)

    def charged(self) -> int:
        """What the server's status says that pools may hold."""
        return self.versions[-1].charged

    def really(self, pool: Pool) -> int:
        """What the pods of a pool may open at this instant."""
        return sum(max(pod.holds, pod.cap) for pod in pool.pods.values())

    def run(self, ops: Sequence[Op]) -> None:
        """Do every step; Violation at the first that gives more than the budget, or after which a pool holds more than
        it is charged with."""
        for op in ops:
            before = self.charged()
            self._do(op)
            if self.charged() > max(before, self.budget):
                raise Violation(f"after {op} {self.charged()} are given of {self.budget}, before {before}")
            for pool in self.pools.values():
                entry = self.versions[-1].entries.get(pool.name)
                if self.really(pool) > (entry.charge if entry else 0):
                    raise Violation(f"after {op} {pool.name} holds {self.really(pool)} of {entry}")

    def _do(self, op: Op) -> None:
        kind, one, two = op
        pool = list(self.pools.values())[one % len(self.pools)]
        operator = two % 2
        match kind:
            case "look":
                self.server_looks[operator] = self._look(two // 2)
            case "write":
                self._write(self.server_looks.pop(operator, None))
            case "see":
                self.pool_looks[operator, pool.name] = self._see(pool, two // 2)
            case "tell":
                self._tell(pool, self.pool_looks.pop((operator, pool.name), None))
            case "turn":
                self.turn()
            case "crash":
                self.server_looks.clear()
                self.pool_looks.clear()
            case "raise" | "lower":
                self.budget = max(8, self.budget + (two % 10 if kind == "raise" else -(two % 10)))
                self.versions.append(self.versions[-1])  # one object holds spec and status
            case _:
                self._happen(kind, pool, two)

    def _happen(self, kind: str, pool: Pool, two: int) -> None:
        match kind:
            case "want":
                pool.want = 1 + two
            case "replicas":
                pool.replicas = two % 4
            case "delete" if pool.there:
                pool.there = False
                for pod in pool.pods.values():
                    self._terminate(pool, pod)
            case "again" if not pool.there:
                pool.there, pool.uid, pool.ledgers = True, pool.uid + 1, []
            case "born" if pool.there and len(pool.pods) < MOST_PODS and self._entry(pool, 0) is not None:
                pool.born += 1
                name = f"{pool.name}-{pool.born}"
                pool.pods[name] = Pod(name, address=name)
            case _ if pool.pods:
                self._pod(kind, pool, list(pool.pods.values())[two % len(pool.pods)], two)

    def _pod(self, kind: str, pool: Pool, pod: Pod, two: int) -> None:
        match kind:
            case "terminate":
                self._terminate(pool, pod)
            case "gone" if pod.terminating:
                del pool.pods[pod.uid]
            case "deliver":
                coming = [each for each in pool.ledgers if pod.seq < each.seq <= pod.last_seq]
                if coming and pool.there:
                    pod.apply(coming[two % len(coming)])
            case "give":
                pod.holds = min(pod.holds, pod.cap)
            case "fill":
                pod.holds = max(pod.holds, pod.cap)

    def _terminate(self, pool: Pool, pod: Pod) -> None:
        pod.terminating = True
        pod.last_seq = min(pod.last_seq, pool.ledgers[-1].seq if pool.ledgers else 0)

    def _entry(self, pool: Pool, late: int) -> Entry | None:
        entry = self.versions[-1 - min(late, len(self.versions) - 1)].entries.get(pool.name)
        return entry if entry and entry.uid == f"{pool.name}.{pool.uid}" else None

    def refused(self) -> tuple[str, ...]:
        """Pools whose floor does not fit, as the next round would tell."""
        look = self._look(0)
        return self.allocate(self.versions[-1], look.applicants, look.terms).refused

    def _look(self, late: int) -> ServerLook:
        applicants = [self._applicant(pool, late % 4) for pool in self.pools.values() if pool.there]
        emptied = {name for name, pool in self.pools.items() if not pool.pods}
        portions = {each.group: Portion(0, None, 1) for each in applicants}
        return ServerLook(len(self.versions), applicants, Terms(self.budget, portions, emptied))

    def _applicant(self, pool: Pool, late: int) -> Applicant:
        uid, floor = f"{pool.name}.{pool.uid}", pool.replicas + 1 if pool.replicas else 0
        want = max(pool.want, floor) if pool.replicas else 0
        if not pool.ledgers or late == UNREADABLE:
            unknown = None if pool.pods or pool.ledgers else 0
            return Applicant(pool.name, uid, pool.name, floor, want, unknown, 0)
        ledger = pool.ledgers[-1 - min(late, len(pool.ledgers) - 1)]
        return Applicant(pool.name, uid, pool.name, floor, want, held(ledger, pool.pods.keys()), ledger.allocation)

    def _write(self, look: ServerLook | None) -> None:
        if look is None or (self.swap and look.version != len(self.versions)):
            return
        before = self.versions[look.version - 1]
        after = self.allocate(before, look.applicants, look.terms)
        if after.entries != before.entries:
            self.versions.append(after)

    def _see(self, pool: Pool, luck: int) -> PoolLook:
        uses, silent = [], SILENT[luck % len(SILENT)]
        for place, pod in enumerate(pool.pods.values()):
            use = PodUse(pod.uid, pod.terminating, address=pod.address)
            known = replace(use, seq=pod.seq, cap=pod.cap, open=pod.holds)
            uses.append(use if silent >> place & 1 else known)
        known = pool.ledgers[-1].pods if pool.ledgers else {}
        uses += [PodUse(uid, terminating=True, ended=True) for uid in known if uid not in pool.pods]
        entry = self._entry(pool, luck // 2 % 8)
        budget = entry.connections if entry else 0
        room = fit(FitRequest(budget, pool.replicas, 1, {}))
        slots = max(sum(not pod.terminating for pod in pool.pods.values()), room.replicas)
        limits = LedgerTerms(budget, room.floor, slots, room.static, SERVER, entry.seq if entry else 0)
        limits = replace(limits, awaited=entry is not None and entry.high > entry.connections)
        return PoolLook(pool.uid, len(pool.ledgers), entry, uses, limits)

    def _tell(self, pool: Pool, look: PoolLook | None) -> None:
        if look is None or not pool.there or look.uid != pool.uid or look.version != len(pool.ledgers):
            return
        ledger = pool.ledgers[-1] if pool.ledgers else Grants(seq=1, static=0, pods={})
        if look.entry is None or not self.obeys(ledger, look.entry):
            return
        after = allocate(ledger, look.pods, look.limits).grants
        if after is not ledger:
            pool.ledgers.append(after)

    def calm(self) -> None:
        """Trouble ends: drains end, pods follow, operators look at what is, until nothing changes."""
        self.server_looks.clear()
        self.pool_looks.clear()
        for pool in self.pools.values():
            self._happen("again", pool, 0)
            living = [uid for uid, pod in pool.pods.items() if not pod.terminating][: pool.replicas]
            pool.pods = {uid: pool.pods[uid] for uid in living}
        for _ in range(60):
            before = (len(self.versions), [len(pool.ledgers) for pool in self.pools.values()])
            self.turn()
            if before == (len(self.versions), [len(pool.ledgers) for pool in self.pools.values()]):
                return
        raise Violation("the allocation does not come to rest")

    def turn(self) -> None:
        """Operators look at what is and write, kubelet delivers, pods obey."""
        self._write(self._look(0))
        for pool in self.pools.values():
            wanted = min(pool.replicas, MOST_PODS)
            for pod in list(pool.pods.values())[wanted:]:
                del pool.pods[pod.uid]
            if len(pool.pods) < wanted:
                self._happen("born", pool, 0)
            self._tell(pool, self._see(pool, 0))
            for pod in pool.pods.values():
                if pool.ledgers and pod.seq < pool.ledgers[-1].seq <= pod.last_seq:
                    pod.apply(pool.ledgers[-1])
                pod.holds = min(pod.holds, pod.cap)
