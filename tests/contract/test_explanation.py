"""The explanation pages state the figures of the code, and show every picture that is generated."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests import generate_docs
from tests.contract.pools import pool
from tests.reference import simulations

from pgbouncer_operator.agent import drain, handover, removed_databases, settings
from pgbouncer_operator.api.connection_pool import parse
from pgbouncer_operator.api.tuning import SizingMode
from pgbouncer_operator.pgbouncer import session
from pgbouncer_operator.resources.deployment import MARGIN_SECONDS, Platform
from pgbouncer_operator.resources.desired import desired
from pgbouncer_operator.sizing import demand
from pgbouncer_operator.sizing.fit import FitRequest, fit

ROOT = Path(__file__).parents[2]
EXPLANATION = ROOT / generate_docs.DOCS / "explanation"


def page(name: str) -> str:
    """The page with every run of white space as one blank."""
    return " ".join((EXPLANATION / name).read_text(encoding="utf-8").split())


def test_the_exceptions_of_the_promises_have_the_figures_of_the_code() -> None:
    text = page("promises.md")
    waits = settings.AgentSettings.__dataclass_fields__["static_after"].default
    assert f"no grant for {waits:.0f} seconds" in text
    assert f"| nothing for {waits:.0f} seconds; after that a static share" in text
    assert f"goes on for {removed_databases.TRANSACTION_SECONDS:.0f} seconds more is cut" in text
    assert f"given to nobody else for {session.OUTLIVES} seconds" in text
    assert f"`client_connection_check_interval = {session.SETTINGS['client_connection_check_interval']}`" in text
    for name in ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count"):
        assert f"`{name} = {session.SETTINGS[name]}`" in text
    assert session.SETTINGS["tcp_user_timeout"] == "15000"
    assert "`tcp_user_timeout = 15s`" in text


def test_a_pgbouncer_that_hangs_is_restarted_when_the_template_says() -> None:
    text = page("promises.md")
    body = pool()
    body["metadata"] |= {"uid": "1", "generation": 1}
    spec = desired(parse(body), Platform("image", "Always", 5)).deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    probe, grace = container["livenessProbe"], spec["terminationGracePeriodSeconds"]
    minutes = (probe["periodSeconds"] * probe["failureThreshold"] + grace) / 60
    assert f"is restarted about {minutes:.0f} minutes after its event loop stops" in text
    assert probe["failureThreshold"] == 6
    assert f"Six probes find it, one every {probe['periodSeconds']} seconds." in text
    assert f"({grace} s by default: the drain's deadlines and {MARGIN_SECONDS} s)" in text
    assert f"six probes of {probe['timeoutSeconds']} seconds in a row" in text


def test_what_an_absence_of_the_operator_can_add_has_the_figures_of_the_code() -> None:
    size, pods = 40, 2
    room = fit(FitRequest(size, pods, 1, {}))
    each = size // pods
    (kept,) = handover.begin(SimpleNamespace(shares={"shop": each})).halves.values()  # type: ignore[arg-type]
    rolled = (pods - 1) * each + kept + 2 * room.static
    evicted = pods * (kept + room.static)
    assert f"A pool of {size} with two pods can then hold {rolled} in a roll by hand, and {evicted} when" in page(
        "promises.md"
    )


def test_the_drain_has_the_figures_of_the_code() -> None:
    text = page("drain.md")
    defaults = drain._OPTIONS
    assert f"chart value ({defaults['--endpoint-delay']} s by default)" in text
    assert f"`drain.timeoutSeconds` ({defaults['--timeout']} s)" in text
    assert f"`drain.transactionSeconds` ({defaults['--transaction']} s)" in text
    assert f"nobody has logged in for {drain.QUIET_SECONDS:.0f} seconds" in text


def test_the_end_of_a_drain_has_the_figures_of_the_code() -> None:
    text, promises, defaults = page("drain.md"), page("promises.md"), drain._OPTIONS
    times = drain.Times(defaults)
    before = times.end - times.unready
    assert f"becomes unready {before:.0f} s before `drain.timeoutSeconds` are over" in text
    assert f"|{before:.0f} s before the end of drain.timeoutSeconds" in text
    assert f"takes up to {defaults['--probes']} s to see" in text
    assert f"the last clients have {drain.LEAVE_SECONDS} s to leave" in text
    fixed = before - times.delay
    assert f"at {before:.0f} s or more ({fixed:.0f} s and `endpointDelaySeconds`)" in text
    assert f"[becomes unready](drain.md) {before:.0f} s before its deadline" in promises
    assert f"`drain.timeoutSeconds` below {before:.0f} s**, or below {fixed:.0f} s and" in promises
    assert f"at least {drain.LEAVE_SECONDS} s to leave" in promises
    assert drain.Times({**defaults, "--timeout": f"{before}"}).unready == times.delay, "from the first pause on"


def test_sizing_has_the_modes_and_the_paces_of_the_code() -> None:
    text = page("sizing.md")
    assert re.findall(r"\| `(\w+)`(?: \(default\))? \|", text)[:3] == [each.value for each in SizingMode]
    assert (demand.STEP_APART, demand.SHRINK_BY, demand.SHRINK_EVERY, demand.CALM) == (30.0, 0.2, 60.0, 300.0)
    assert (demand.REMEMBERED, demand.HELD, demand.LEFT, demand.SLOW, demand.STEP_LEAST) == (600.0, 600.0, 60.0, 1.5, 8)
    assert "at most to twice the size (or by 8, if that is more) each half minute" in text
    assert "at most a fifth a minute, after five minutes" in text
    assert "one and a half times as long as usual" in text
    assert "median of the last ten minutes" in text


@pytest.mark.parametrize("picture", simulations.pictures(), ids=str)
def test_every_generated_picture_is_shown(picture: Path) -> None:
    assert f"](../images/{picture.name})" in page("sizing.md")


def test_what_the_text_says_of_the_pictures_is_what_the_simulator_finds() -> None:
    rows = {tuple(row.split(" | ")[:2]): row for row in simulations.figures().splitlines()}
    burst, slow, wild = (make().about for make in simulations.SHOWN)
    assert "shop 0 ms" in rows[f"| {burst}", "ours"]
    assert "shop 0 ms" not in rows[f"| {burst}", "reactive"]
    assert "200 of 200" in rows[f"| {slow}", "naive"]
    assert "30 of 200" in rows[f"| {slow}", "ours"]
    assert "60 of 60" in rows[f"| {wild}", "ours"]
    assert "shop 0 ms, search 0 ms" in rows[f"| {wild}", "fixed"]
