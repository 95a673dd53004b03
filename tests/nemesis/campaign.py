"""The campaign itself: events one after the other, what broke after each, and whether all recovers at the end."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.localcluster.problem import Problem
from tests.localcluster.waiting import let_pass, until
from tests.nemesis import choice, scene
from tests.nemesis.choice import Options
from tests.nemesis.kinds import KINDS
from tests.nemesis.observation import Observation
from tests.nemesis.promises import READY_SECONDS, Breach, Event, Promise, Verdict, judge, merged

GIVEN_UP = 180.0  # seconds after which nobody waits for a pool any more
REST = 4.0  # seconds after an event apart in which late failures are counted
WORDS = 220  # letters of an error that are printed


@dataclass(slots=True)
class Campaign:
    """One run. say: prints a line with the time."""

    observation: Observation
    options: Options
    say: Callable[[str], None]
    events: list[Event] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    recovered: dict[int, float] = field(default_factory=dict)
    """Seconds from the end of an event until all pools were Ready, by the event's number; where it was measured."""

    def run(self) -> None:
        """Every kind at least once, and more until the minutes are over."""
        names = self._kinds()
        over, chance = time.monotonic() + 60 * self.options.minutes, random.Random(self.options.seed)
        for number, kind in enumerate(choice.order(names, self.options.seed), start=1):
            if self.options.apart:
                if number > len(names):
                    return
                self.alone(kind)
                continue
            if number > len(names) and time.monotonic() >= over:
                break
            self.perform(kind)
            let_pass(chance.uniform(*self.options.gap))
            self.judge()
        self.recover()

    def _kinds(self) -> list[str]:
        node = self.observation.scene.node
        return [each for each in self.options.kinds if node is not None or not KINDS[each].needs_node]

    def perform(self, kind: str) -> Event:
        """One event."""
        where, chosen = self.observation.scene, KINDS[kind]
        event = Event(len(self.events) + 1, kind, time.monotonic(), chosen.exemption)
        self.events.append(event)
        try:
            where.run_due(event.began)
            event.text = chosen.act(where, choice.chance(self.options.seed, event.number, kind))
        except (Problem, IndexError, AssertionError) as problem:
            event.trouble = " ".join(str(problem).split())[-WORDS:] or type(problem).__name__
        event.ended = time.monotonic()
        trouble = f" NOT DONE: {event.trouble}" if event.trouble else ""
        self.say(f"{event.number:4} {kind}: {event.text}{trouble} ({event.ended - event.began:.1f} s)")
        return event

    def judge(self, more: Sequence[Breach] = ()) -> None:
        """Say what broke since the last time, and after which event."""
        for breach in merged([*self.observation.breaches(), *more]):
            verdict = judge(breach, self.events)
            self.verdicts.append(verdict)
            self.say(f"     {'..' if verdict.excused else '!!'} {verdict.line()}")

    def recover(self) -> None:
        """End what lasts, and wait until all pools are Ready; late is a breach."""
        where = self.observation.scene
        where.wait_due()
        began, exemptions = time.monotonic(), [each.exemption for each in self.events[-5:] if each.exemption]
        promised = max([READY_SECONDS, *(each.ready_seconds for each in exemptions)])
        missing = ""
        try:
            until(lambda: _missing(where), GIVEN_UP, 0.25)
        except Problem as problem:
            missing = " ".join(str(problem).split())[:WORDS]
        seconds = time.monotonic() - began
        if self.events:
            self.recovered[self.events[-1].number] = seconds
        if seconds > promised * self.options.patience:
            text = missing or f"all were Ready after {seconds:.0f} s, promised are {promised:.0f} s"
            self.judge([Breach(Promise.READY, time.monotonic(), 1, "pools", text)])
        else:
            self.judge()

    def alone(self, kind: str) -> None:
        """One event from rest to rest."""
        before, machine = len(self.verdicts), self.observation.machine
        machine.take()
        self.observation.breaches()
        event = self.perform(kind)
        self.recover()
        let_pass(REST)
        self.judge()
        broken = [each for each in self.verdicts[before:] if each.event is event and not each.excused]
        words = f"Ready after {self.recovered[event.number]:.0f} s"
        self.say(
            f"     {'BROKEN' if broken else 'holds'}: {words}; the machine was late by at most {machine.take():.2f} s"
        )
        if broken or event.trouble:
            scene.repair(self.observation.scene)
            let_pass(REST)
            self.observation.breaches()


def _missing(where: scene.Scene) -> str:
    try:
        return scene.missing(where)
    except Problem as problem:
        return str(problem)
