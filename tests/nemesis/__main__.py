"""`make nemesis`: the hostile campaign on the local cluster. Its options are environment variables.

NEMESIS_SEED      the same seed makes the same events; without one it is random, and printed
NEMESIS_MINUTES   of events, 30 by default
NEMESIS_WITHOUT   kinds to leave out; NEMESIS_ONLY: no other kinds
NEMESIS_APART     1: each kind once, from rest to rest, so that every breach has one cause
NEMESIS_PATIENCE  factor of the seconds until pools are Ready, for a machine that other work keeps busy

Kinds that are known to break a promise (BROKEN in kinds.py) are left out, and run apart at the end.
"""

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import replace

from tests.cluster import nodes
from tests.localcluster import backend, deploy
from tests.localcluster.deploy import Site
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress
from tests.nemesis import report, scene
from tests.nemesis.campaign import Campaign
from tests.nemesis.choice import OptionError, Options
from tests.nemesis.kinds import BROKEN, KINDS
from tests.nemesis.observation import observed, processors

NAMESPACE = "nemesis"


def main() -> int:
    """Run it; 0 when every promise was kept, 1 when one broke, 2 for options that cannot be used."""
    try:
        options = Options.read(os.environ, tuple(KINDS), secrets.randbelow(100_000))
    except OptionError as error:
        print(f"nemesis: {error}", file=sys.stderr)
        return 2
    progress = Progress(sys.stdout)
    try:
        site = deploy.site(progress)
        deploy.install(site)
        return _run(site, options, progress)
    except Problem as problem:
        print(f"nemesis: seed {options.seed}: {problem}", file=sys.stderr)
        return 1


def _run(site: Site, options: Options, progress: Progress) -> int:
    with scene.namespace(site, NAMESPACE) as here:
        where = scene.build(here)
        with _node(where), observed(where) as observation:
            if where.node is not None:
                nodes.only(here, nodes.FIRST, where.node)
            main_part = options if options.apart else replace(options, kinds=_without_broken(options))
            progress.say(f"seed {options.seed}: {len(main_part.kinds)} kinds of events; load {processors()}")
            campaign = Campaign(observation, main_part, progress.say)
            campaign.run()
            campaign.judge(observation.lost() if options.apart or not BROKEN else ())
            known = Campaign(observation, replace(options, kinds=tuple(BROKEN), apart=True), progress.say)
            if BROKEN and not options.apart and not os.environ.get("NEMESIS_ONLY"):
                progress.say("kinds that are known to break a promise, apart")
                known.run()
            return _conclude(campaign, known)


def _without_broken(options: Options) -> tuple[str, ...]:
    return tuple(each for each in options.kinds if each not in BROKEN) or options.kinds


@contextlib.contextmanager
def _node(where: scene.Scene) -> Iterator[None]:
    """A second node for the pools' pods; none with kind. Nothing starts there yet: the clients' pods must not."""
    if backend.choose() != "bare":
        yield
        return
    with nodes.another(where.here) as name:
        where.node = name
        nodes.only(where.here, nodes.FIRST)
        yield


def _conclude(campaign: Campaign, known: Campaign) -> int:
    observation, faults = campaign.observation, report.faults(campaign.verdicts)
    undone = report.never_done(campaign.events)
    peak = observation.scene.budget.peak(observation.counts())
    print(report.table(campaign.events, campaign.verdicts, campaign.recovered))
    if known.events:
        print("\nKnown to break a promise:")
        print(report.table(known.events, known.verdicts, known.recovered))
        for kind in sorted({each.kind for each in known.events}):
            print(f"  {kind}: {BROKEN[kind]}")
    print(
        f"\nseed {campaign.options.seed}: {len(campaign.events)} events, {observation.committed} transactions, "
        f"{len(observation.counts())} counts of PostgreSQL's, peak/budget {peak:.3f}"
    )
    for verdict in faults:
        print(f"BROKEN: {verdict.line()}")
    for kind in undone:
        print(f"NEVER DONE: {kind}: {next(each.trouble for each in campaign.events if each.kind == kind)}")
    print("A promise broke." if faults or undone else "Every promise was kept.")
    return 1 if faults or undone else 0


if __name__ == "__main__":
    sys.exit(main())
