"""What an older Kubernetes gets instead of the definition; `make test-versions` applies both to real API servers."""

from typing import Any

from pgbouncer_operator.api import crd
from pgbouncer_operator.api.model import VALIDATIONS


def rules(definition: dict[str, Any]) -> list[dict[str, str]]:
    """The rules of spec.parameters, which go out of the definition."""
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    found: list[dict[str, str]] = spec["properties"]["parameters"].pop(VALIDATIONS)
    return found


def test_kubernetes_1_33_lacks_the_rules_for_numbers_and_lists_and_nothing_else() -> None:
    newer = crd.render()
    older = crd.without_costly_rules(newer)
    every, kept = rules(newer), rules(older)

    assert kept == [rule for rule in every if ".matches(" not in rule["rule"]]
    assert 0 < len(kept) < len(every)
    assert older == newer
