import re
from collections import Counter

import pytest

from pgbouncer_operator import naming

LONGEST = "a" * (naming.POOL_NAME_MAX - 1) + "9"
CHILDREN = {
    "Service": [naming.service],
    "Deployment": [naming.deployment],
    "ConfigMap": [naming.config_map, naming.grants_config_map],
    "PodDisruptionBudget": [naming.pod_disruption_budget],
    "Secret": [naming.connection_secret, naming.direct_secret],
}


@pytest.mark.parametrize("pool", ["a", "shop-pool", LONGEST])
def test_names_are_unique_for_each_kind_and_dns_labels(pool: str) -> None:
    for kind, makers in CHILDREN.items():
        names = [make(pool) for make in makers]
        assert max(Counter(names).values()) == 1, kind
        assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in names), names


def test_the_longest_pools_replica_set_is_named_whole_in_its_63_characters() -> None:
    """A pod's name is made of it: the API server cuts what is longer, so a longer pool's pods would lose the hash."""
    assert len(f"{naming.deployment(LONGEST)}-{'x' * 10}") <= 63


def test_two_pools_never_share_a_childs_name_unless_one_is_named_like_the_others_child() -> None:
    one = {(kind, make("shop")) for kind, makers in CHILDREN.items() for make in makers}
    two = {(kind, make("shop-2")) for kind, makers in CHILDREN.items() for make in makers}
    assert not one & two


def test_labels_and_annotations_of_ours_are_valid_qualified_names() -> None:
    ours = [value for name, value in vars(naming).items() if name.startswith(("LABEL_", "ANNOTATION_"))]
    assert len(ours) == len(set(ours))
    for value in ours:
        prefix, _, name = value.partition("/")
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", prefix), value
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9_.]{0,61}[a-z0-9])?", name), value


def test_labels_do_not_depend_on_anything_but_the_pools_name() -> None:
    assert naming.labels("shop") == naming.labels("shop")
    assert all(len(value) <= 63 for value in naming.labels(LONGEST).values())


def test_the_services_host_names_the_namespace_and_no_cluster_domain() -> None:
    assert naming.service_host("shop", "web") == "shop.web.svc"
