"""The agent's settings and the environment variables that change them."""

import pytest

from pgbouncer_operator.agent.settings import AgentSettings
from pgbouncer_operator.engine.leader import LeaseTiming

STARTING = 3.0  # seconds in which an operator that has just taken over reads the cluster and grants


def test_settings_are_changed_by_the_environment() -> None:
    found = AgentSettings.from_environment(
        {"PGBOUNCER_AGENT_RUN_DIR": "/tmp/x", "PGBOUNCER_AGENT_PORT": "7", "PGBOUNCER_AGENT_PGBOUNCER": "a 'b c'"}
    )
    assert (str(found.console), found.pgbouncer) == ("/tmp/x/.s.PGSQL.7", ("a", "b c"))
    assert AgentSettings.from_environment({}) == AgentSettings()


@pytest.mark.parametrize("name", ["PORT", "BEAT"])
def test_a_setting_that_is_no_number_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"PGBOUNCER_AGENT_{name}='x'"):
        AgentSettings.from_environment({f"PGBOUNCER_AGENT_{name}": "x"})


def test_no_pod_takes_its_static_share_while_another_operator_takes_over() -> None:
    """Pods of before hold their grants meanwhile, and a static share would come on top."""
    timing = LeaseTiming()
    takeover = timing.duration + timing.retry + STARTING
    assert AgentSettings().static_after >= 1.5 * takeover
