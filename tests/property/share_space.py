"""One pod whose databases share its cap: every order of grants, needs, configurations, reloads, looks and restarts.

The agent's own are what it installs next, what it makes of a look, what it takes up after a restart. Modelled is
PgBouncer at its worst: a database takes at once what it may, gives back when it likes, and a RELOAD may be lost.
The operator charges the pod for the highest cap since the last that the pod has confirmed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tests.property.ledger_model import Violation

from pgbouncer_operator.agent import candidate, install, share_steps
from pgbouncer_operator.agent.candidate import Candidate, CandidateInputs, Identity
from pgbouncer_operator.agent.console import ConsoleAnswer, DatabaseRow, Figures
from pgbouncer_operator.agent.grant import AcceptedGrant
from pgbouncer_operator.agent.mounts import Credential, MountedUser, Mounts
from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent, ServerTls, UserIntent

FRESH = CandidateInputs(Identity("probe_1", b"key"), AgentSettings())
USERS = {"shop": MountedUser(Credential("shop", "s3cret"), "", "..1")}
NAMES = ("blog", "shop")
Shares = tuple[int, ...]
# What the mounts may ask for: the pod's cap, and each database's own maximum.
WISHES: tuple[tuple[int, tuple[int | None, ...]], ...] = (
    (4, (None, None)),
    (4, (None, 1)),
    (2, (None, None)),
)
# What the databases need, as the agent saw it. It moves shares under the same grant.
DEMANDS: tuple[dict[str, int], ...] = ({}, {"shop": 4})


class Installed(NamedTuple):
    """A configuration: which wish it was made for, counted on for an older one like it, and each database's share."""

    wish: int
    shares: Shares


class Now(NamedTuple):
    """A state. files: what the agent installed, None after its restart. loaded: what PgBouncer obeys.

    holds: the most that each database may come to have. over: seen above their shares, None while not known.
    told: the wish that is confirmed. charge: what the operator reckons with. demand: one of DEMANDS.
    """

    wish: int
    demand: int
    files: Installed | None
    loaded: Installed
    holds: Shares
    over: tuple[tuple[str, int], ...] | None
    told: int | None
    charge: int


@dataclass
class Space:
    """The walk over all states."""

    states: int = 0
    _known: dict[Any, Any] = field(default_factory=dict)

    def walk(self) -> "Space":
        """Visit all; Violation at the first in which the databases may hold more than the pod is charged for."""
        shares = self.shares(self.wanted(0))
        first = Now(0, 0, Installed(0, shares), Installed(0, shares), shares, (), 0, WISHES[0][0])
        front, seen = [(first, "")], {first}
        while front:
            now, way = front.pop(0)
            for name, after in self.after(now):
                if sum(after.holds) > after.charge:
                    raise Violation(f"{sum(after.holds)} of {after.charge} after{way} {name}: {now} becomes {after}")
                if after not in seen:
                    seen.add(after)
                    front.append((after, f"{way} {name};"))
        self.states = len(seen)
        return self

    def wanted(self, wish: int, demand: int = 0) -> Candidate:
        """As the agent composes it."""
        if (wish, demand) not in self._known:
            cap, maxima = WISHES[wish % len(WISHES)]
            databases = tuple(DatabaseIntent(name, "pg", max=most) for name, most in zip(NAMES, maxima, strict=True))
            intent = Intent("ns/shop", {}, databases, (UserIntent("shop", "shop"),), ServerTls("disable"))
            mounts = Mounts(intent=intent, users=USERS, uid="uid-1")
            inputs = replace(FRESH, demand=DEMANDS[demand])
            self._known[wish, demand] = candidate.candidate(mounts, AcceptedGrant(wish + 1, cap, wish + 1), inputs)
        found: Candidate = self._known[wish, demand]
        return found

    def candidate(self, one: Installed) -> Candidate:
        """The configuration that is installed."""
        if one not in self._known:
            whole = self.wanted(one.wish)
            shares = dict(zip(NAMES, one.shares, strict=True))
            self._known[one] = replace(whole, composition=replace(whole.composition, shares=shares))
        found: Candidate = self._known[one]
        return found

    @staticmethod
    def shares(one: Candidate) -> Shares:
        return tuple(one.shares[name] for name in NAMES)

    def after(self, now: Now) -> Iterator[tuple[str, Now]]:
        """All that can happen next."""
        for wish, (cap, _) in enumerate(WISHES):
            files, loaded = now.files and _older(now.files, wish), _older(now.loaded, wish)
            charge = max(now.charge, cap)
            yield f"wish {wish}", now._replace(wish=wish, charge=charge, told=None, files=files, loaded=loaded)
        for demand in range(len(DEMANDS)):
            yield f"demand {demand}", now._replace(demand=demand)
        yield "restart", now._replace(files=None, over=None, told=None, demand=0)
        for place, name in enumerate(NAMES):
            holds = (*now.holds[:place], now.loaded.shares[place], *now.holds[place + 1 :])
            yield f"{name} gives back", now._replace(holds=holds)
        yield from self._climb(now)
        if now.files is not None:
            yield from self._verify(now, now.files, idle=False)
            yield from self._verify(now, now.files, idle=True)
        if now.told == now.wish:
            yield "confirmed", now._replace(charge=WISHES[now.wish][0])

    def _climb(self, now: Now) -> Iterator[tuple[str, Now]]:
        wanted = self.wanted(now.wish, now.demand)
        if now.files is None:
            limits = dict(zip(NAMES, now.loaded.shares, strict=True))
            step = share_steps.taken_up(wanted, limits)
            yield "climb after a restart", now._replace(files=Installed(now.wish, self.shares(step)))
            return
        running = self.candidate(now.files)
        if running.marker == wanted.marker:
            return
        found = share_steps.next_step(running, wanted, None if now.over is None else dict(now.over))
        if found is not None:
            wish = now.wish if found.seq == wanted.seq else now.files.wish
            installed = now._replace(files=Installed(wish, self.shares(found)), over=None)
            yield "climb, and the reload is lost", installed
            yield "climb", self._loaded(installed)

    def _loaded(self, now: Now) -> Now:
        assert now.files is not None
        return now._replace(loaded=now.files, holds=tuple(map(max, now.holds, now.files.shares)))

    def _verify(self, now: Now, files: Installed, idle: bool) -> Iterator[tuple[str, Now]]:
        """idle: databases that hold no more than they may are seen to hold nothing."""
        rows = zip(NAMES, now.loaded.shares, now.holds, strict=True)
        databases = {name: DatabaseRow(most, 0 if idle and has <= most else has, False) for name, most, has in rows}
        loaded = self.candidate(now.loaded)
        verdict = install.verify(self.candidate(files), ConsoleAnswer(databases, Figures(), loaded.marker, "1"))
        over = None if verdict.known_over is None else tuple(sorted(verdict.known_over.items()))
        if not verdict.read:
            yield "look, reload again", self._loaded(now._replace(over=over))
            yield "look", now._replace(over=over)
        elif over:
            yield "look, over", now._replace(over=over)
        else:
            yield "look, all well", now._replace(over=over, told=files.wish)


def _older(one: Installed, wish: int) -> Installed:
    """Each grant has a sequence of its own: one like it that came before is another."""
    return one._replace(wish=wish + len(WISHES)) if one.wish == wish else one
