"""Names of any pool that the API lets in."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from pgbouncer_operator import naming
from pgbouncer_operator.api.connection_pool import _NAME

FIXED = settings(derandomize=True, database=None, deadline=None, max_examples=200)
POOLS = st.from_regex(_NAME, fullmatch=True).filter(lambda name: len(name) <= naming.POOL_NAME_MAX)
LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
MAKERS = (
    naming.service,
    naming.deployment,
    naming.config_map,
    naming.grants_config_map,
    naming.pod_disruption_budget,
    naming.connection_secret,
    naming.direct_secret,
)


@FIXED
@given(POOLS)
def test_every_name_is_a_dns_label_of_its_own_kind(pool: str) -> None:
    assert all(LABEL.fullmatch(make(pool)) for make in MAKERS)
    assert naming.config_map(pool) != naming.grants_config_map(pool)
    assert naming.connection_secret(pool) != naming.direct_secret(pool)
    assert all(re.fullmatch(r"[-A-Za-z0-9_.]{0,63}", value) for value in naming.labels(pool).values())


@FIXED
@given(POOLS, POOLS)
def test_two_pools_have_two_names_for_everything(one: str, two: str) -> None:
    assert one == two or all(make(one) != make(two) for make in MAKERS)
