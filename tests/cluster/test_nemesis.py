"""The short form of `make nemesis`: every kind of event once, in an order that is always the same, under 60 clients."""

from collections.abc import Callable

from tests.cluster.pools import Namespace
from tests.localcluster.progress import Progress
from tests.nemesis import report, scene
from tests.nemesis.campaign import Campaign
from tests.nemesis.choice import Options
from tests.nemesis.kinds import BROKEN, KINDS
from tests.nemesis.observation import observed

SEED = 14
FEWEST = 20


def test_no_event_by_people_or_machines_breaks_a_promise(here: Namespace, say: Callable[[str], None]) -> None:
    chosen = tuple(name for name, kind in KINDS.items() if name not in BROKEN and not kind.needs_node)
    options = Options(SEED, 0, chosen, apart=False, gap=(0.2, 1.0), patience=4)
    where = scene.build(here)
    with observed(where) as observation:
        campaign = Campaign(observation, options, Progress().say)
        campaign.run()
        campaign.judge(observation.lost())
        peak = where.budget.peak(observation.counts())
        say(f"{observation.committed} transactions, peak/budget {peak:.3f}")
        say(report.table(campaign.events, campaign.verdicts, campaign.recovered))
    assert {each.kind for each in campaign.events} == set(chosen)
    assert len(chosen) >= FEWEST
    assert not [each.line() for each in report.faults(campaign.verdicts)]
    assert not report.never_done(campaign.events)
    assert 0 < peak <= 1
    assert observation.committed > 1000
