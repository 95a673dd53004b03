"""Every order in which a few pods, operators and Kubernetes can act on one ledger, walked breadth first.

An operator's look is the real one from `/state` on: the agent's document, its parsing, the ledger's recovery, what is
made of them, the allocation. How an agent takes a ledger is the real rule too. Modelled are Kubernetes and PgBouncer at
their worst: a pod holds at once all that it may, and gives back when it likes.

A decision that was made and not written yet stands for all operators that looked and then crashed, paused or lost their
lead: of the decisions made on one ledger only one can be written. A pod that is gone has been seen to end; one that is
deleted by force goes on unseen until the ledger has remembered it for as long as it must.

Two states are one when they differ only in names of pods, or in numbers of ledgers that nobody compares: see `forget`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from types import SimpleNamespace
from typing import Any

from tests.property.ledger_model import Violation
from tests.property.ledger_states import NEWEST, Entry, Grown, Now, Plan, Pod, forget, may_hold, moves

from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.protocol.state import AgentState
from pgbouncer_operator.reconcile.budget import capacity
from pgbouncer_operator.reconcile.budget import ledger as ledger_reader
from pgbouncer_operator.reconcile.cache.views import PodView
from pgbouncer_operator.reconcile.memory import LostPod, Presence
from pgbouncer_operator.sizing import fit, ledger
from pgbouncer_operator.sizing.ledger import LedgerTerms

TODAY = 10**9  # Unix seconds at which a tombstone of 1970 is old, and no other
SILENT, HONEST, IDLE, CROSSED = "silent", "honest", "idle", "crossed"
Told = tuple[int, int, int, int, int | None] | None  # uid, seq, cap, open, keeps


@dataclass(frozen=True)
class Size:
    """What is walked. words: what may come back when a pod is asked; crossed is the answer of the next pod.

    back: a stale cache may mount an older ledger. loss: somebody deletes the ledger. blind: writes compare nothing.
    hasty: agents say at RELOAD already that they obey. force: pods that the ledger knows are deleted by force.
    unlabel: such pods lose their label, and may have it back.
    depth: steps from the beginning; None walks until nothing new is found.
    """

    pods: int
    budgets: tuple[int, ...]
    replicas: int
    databases: int = 1
    words: tuple[str, ...] = (SILENT, HONEST)
    back: bool = False
    loss: bool = False
    blind: bool = False
    hasty: bool = False
    force: bool = False
    unlabel: bool = False
    depth: int | None = None


@dataclass
class Space:
    """One walk. What it calls is looked up anew in every walk, so that a fault can be planted in it."""

    size: Size
    states: int = 0
    steps: int = 0
    depth: int = 0
    _known: dict[Any, Any] = field(default_factory=dict)

    def walk(self) -> "Space":
        """Visit all states; Violation tells the shortest way to the first step that breaks the promise."""
        front = [self.beginning(pods) for pods in range(self.size.pods + 1)]
        parents: dict[Now, tuple[Now, str] | None] = dict.fromkeys(front)
        while front and self.depth != self.size.depth:
            self.depth += 1
            found = []
            for now in front:
                for name, after, complaint in self.after(now):
                    self.steps += 1
                    if complaint:
                        raise Violation(f"{complaint}, after {way(parents, now)}{name}: {now} becomes {after}")
                    if after not in parents:
                        parents[after] = (now, name)
                        found.append(after)
            front = found
        self.states = len(parents)
        return self

    def beginning(self, pods: int) -> Now:
        """The first ledger, written before there is a pod; then so many pods start, are served and come to rest."""
        budget, now = self.size.budgets[0], Now(0, self.size.budgets[0])
        now = now._replace(static=ledger.allocate(Grants(1, 0, {}), (), self.limits(0, False, budget)).grants.static)
        honest = f"look, {(HONEST,) * pods} answer"
        calm = [f"{place} {move}" for place in range(pods) for move in ("mounts", "reads", "comes below its cap")]
        for wanted in ["a pod is born"] * pods + [honest, "write", *calm] * 4:
            now = next((after for name, after, _ in self.after(now) if name == wanted), now)
        return now

    def room(self, budget: int) -> fit.Fit:
        """What the budget allows; the module is asked, since faults are planted there."""
        return fit.fit(fit.FitRequest(budget, self.size.replicas, self.size.databases, {}))

    def limits(self, living: int, rolling: bool, budget: int) -> LedgerTerms:
        """As capacity.decide has it."""
        room = self.room(budget)
        slots = max(living, room.replicas + (room.surge if rolling else 0))
        return LedgerTerms(budget, room.floor, slots, room.static, now=TODAY)

    def after(self, now: Now) -> Iterator[tuple[str, Now, str]]:
        """Each step that can be taken: its name, what comes of it, and what is wrong with it, or nothing."""
        if now.plan is not None:
            yield self._written("write", now, now.plan)
        yield from self._looks(now)
        for budget in self.size.budgets:
            if budget != now.budget:
                yield f"the budget is {budget}", now._replace(budget=budget), ""
        if len(now.pods) < self.size.pods:
            yield "a pod is born", now._replace(pods=(*now.pods, Pod())), ""
        if self.size.loss and now.static is not None:
            pods = tuple(self._forgotten(pod._replace(entry=None, coming=None)) for pod in now.pods)
            yield "the ledger is deleted", now._replace(static=None, ghosts=False, plan=None, pods=pods), ""
        for place in range(len(now.pods)):
            yield from self._of_pod(now, place)

    def _of_pod(self, now: Now, place: int) -> Iterator[tuple[str, Now, str]]:
        pod, before, rest = now.pods[place], now.pods[:place], now.pods[place + 1 :]
        if not pod.lost:
            yield f"{place} is gone", self._gone(now, place), ""
        elif pod.entry and pod.entry[3]:
            yield f"{place} has been gone for long", self._gone(now, place), ""
        for grown in self._moves(pod, now.static):
            if grown.unasked and pod.entry is None and now.plan is not None:
                continue  # who waited that long unseen is alone: no operator is just writing
            after = now._replace(pods=(*before, grown.pod, *rest))
            yield f"{place} {grown.name}", after, self._complaint(now, after, place, grown)

    def _gone(self, now: Now, place: int) -> Now:
        pod, plan = now.pods[place], now.plan
        if plan is not None and pod.coming is not None:
            plan = plan._replace(ghosts=True)
        pods = now.pods[:place] + now.pods[place + 1 :]
        return now._replace(pods=pods, ghosts=now.ghosts or pod.entry is not None, plan=plan)

    def _moves(self, pod: Pod, static: int | None) -> list[Grown]:
        key = ("moves", pod, static)
        if key not in self._known:
            found = [each._replace(pod=self._forgotten(each.pod)) for each in moves(pod, static, self.size)]
            self._known[key] = [each for each in found if each.pod != pod]
        known: list[Grown] = self._known[key]
        return known

    def _forgotten(self, pod: Pod, top: int = NEWEST) -> Pod:
        key = (pod, top)
        if key not in self._known:
            self._known[key] = forget(pod, top)
        known: Pod = self._known[key]
        return known

    def _looks(self, now: Now) -> Iterator[tuple[str, Now, str]]:
        words = [word for word in self.size.words if word != CROSSED or len(now.pods) > 1]
        heard = [(SILENT,) if pod.lost else words for pod in now.pods]
        for said, rolling in product(product(*heard), (False, True)):
            told = tuple(map(answer, range(len(now.pods)), [now.pods] * len(now.pods), said))
            key = (now.static, now.ghosts, now.budget, rolling, told)
            key = (*key, *((pod.terminating, bool(pod.cap), pod.entry, pod.lost, pod.unlabelled) for pod in now.pods))
            key = key if now.static is not None else (*key, *map(brought, now.pods))
            if key not in self._known:
                self._known[key] = self._decide(now, told, rolling)
            if self._known[key] is None:
                continue
            plan, entries = self._known[key]
            pods = zip(now.pods, entries, strict=True)
            decided = tuple(self._forgotten(pod._replace(coming=entry)) for pod, entry in pods)
            name = f"look, {said} answer{' in a roll' if rolling else ''}"
            after = now._replace(pods=decided, plan=plan)
            yield name, after, ""
            if self.size.blind and now.plan is not None:
                yield self._overtaken(name, now, after)

    def _decide(self, now: Now, told: tuple[Told, ...], rolling: bool) -> Any:
        """The ledger that an operator would write, None when it would write nothing."""
        views = [view(str(place), pod) for place, pod in enumerate(now.pods)]
        states = {each.uid: _heard(each.uid, one) for each, one in zip(views, told, strict=True)}
        if now.static is None:
            found = ledger_reader.ledger(None, views, states)
            before = found.grants if found else Grants(1, 0, {})
        else:
            known = {str(place): _grant(pod.entry) for place, pod in enumerate(now.pods) if pod.entry}
            before = Grants(NEWEST, now.static, known | ({"gone": Grant(0, 0, 0, gone=1)} if now.ghosts else {}))
        pods = list(zip(views, now.pods, strict=True))
        seen = [each for each, pod in pods if not pod.lost and not pod.unlabelled]
        lost = {each.uid: _unlabelled(each) for each, pod in pods if pod.unlabelled and not pod.lost}
        living = [each for each in seen if not each.terminating]
        leaving = [each for each in seen if each.terminating]
        look = SimpleNamespace(living=living, leaving=leaving, states=states, pods=seen, ended=frozenset(), lost=lost)
        look.unlabelled_states = {uid: states[uid] for uid in lost}
        uses = capacity._uses(look)  # type: ignore[arg-type]
        after = ledger.allocate(before, uses, self.limits(len(living), rolling, now.budget)).grants
        if after is before and now.static is not None:
            return None
        grants = [after.pods.get(each.uid) for each in views]
        entries = [each and (each.cap, each.seq, each.high, bool(each.gone)) for each in grants]
        return Plan(after.seq, after.static, now.budget), entries

    def _overtaken(self, name: str, now: Now, after: Now) -> tuple[str, Now, str]:
        """Another operator looks and writes; the decision made before stays, and is written later."""
        assert after.plan is not None
        name, written, complaint = self._written(f"{name}, written at once", after, after.plan)
        pods = tuple(new._replace(coming=old.coming) for new, old in zip(written.pods, now.pods, strict=True))
        return name, written._replace(pods=pods, plan=now.plan), complaint

    def _written(self, name: str, now: Now, plan: Plan) -> tuple[str, Now, str]:
        if now.static is not None and plan.seq <= NEWEST and not self.size.blind:
            return name, now, "a ledger is written without a higher sequence"
        pods = tuple(self._forgotten(pod._replace(entry=pod.coming, coming=None), plan.seq) for pod in now.pods)
        after = Now(plan.static, now.budget, pods, plan.ghosts)
        had, has = committed(now), committed(after)
        if has > max(had, plan.budget):
            return name, after, f"a write lets {has} be held, before {had}, of {plan.budget}"
        floor = self.size.databases
        low = [pod.entry for pod in pods if pod.entry and not pod.terminating and 0 < pod.entry[0] < floor]
        return name, after, f"{low[0]} is below the floor of {floor}" if low else ""

    def _complaint(self, now: Now, after: Now, place: int, grown: Grown) -> str:
        """Who does more than was reckoned with. Without any operator only a cold start stays within the budget."""
        more = may_hold(grown.pod, after.static) - may_hold(now.pods[place], now.static)
        if more <= 0:
            return ""
        if not grown.unasked or now.pods[place].entry is not None:
            return f"{more} more may be held than anybody was charged for"
        room = self.room(now.budget)
        cold = not now.ghosts and all(pod.entry is None and not pod.terminating for pod in now.pods)
        few = len(now.pods) <= room.replicas + room.surge and all(pod.holds <= room.static for pod in after.pods)
        has = committed(after)
        return f"a cold start holds {has} of {now.budget}" if cold and few and has > now.budget else ""


def answer(place: int, pods: tuple[Pod, ...], word: str) -> Told:
    """What is read at the address of the pod in that place."""
    if word == SILENT:
        return None
    place = (place + 1) % len(pods) if word == CROSSED else place
    pod = pods[place]
    seq = pod.said[0] if pod.cap else pod.seq
    return (place, seq, max(pod.said[1], pod.cap), 0 if word == IDLE else pod.holds, pod.keeps)


def _heard(uid: str, told: Told) -> AgentState | None:
    if told is None:
        return None
    who, seq, cap, held, keeps = told
    return AgentState.from_json(AgentState(str(who), "1", seq=seq, cap=cap, open=held, keeps=keeps).to_json(), uid)


def _unlabelled(pod: PodView) -> LostPod:
    return LostPod(pod.name, Presence.EXISTS, 0.0, unlabelled=pod)


def _grant(entry: Entry) -> Grant:
    return Grant(*entry[:3], gone=TODAY if entry[3] else 0)


def view(uid: str, pod: Pod) -> PodView:
    """The pod as Kubernetes shows it."""
    return PodView(
        "ns", uid, uid, 1, "shop", "", pod.terminating, ready=bool(pod.cap), finished=False,
        config="", poke=f"{brought(pod)}-0-0", trouble="", placed=True, reconnect="",
    )  # fmt: skip


def brought(pod: Pod) -> int:
    """The newest ledger that came to the pod: it was told of this one, or none would have come."""
    return max(pod.seq, pod.mounted.seq if pod.mounted else 0)


def committed(now: Now) -> int:
    """The most that all pods can come to hold by what they have and by what was written."""
    return sum(may_hold(pod, now.static) for pod in now.pods)


def way(parents: dict[Now, tuple[Now, str] | None], now: Now) -> str:
    """The steps that led there."""
    steps = ""
    while (found := parents[now]) is not None:
        now, step = found
        steps = f"{step}; {steps}"
    return steps
