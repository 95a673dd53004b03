"""What Helm prints after an installation."""

import re

import pytest
import yaml
from tests.contract.chart import (
    NAMESPACE,
    RELEASE,
    notes,
)  # fmt: skip

from pgbouncer_operator.api.connection_pool import parse


@pytest.mark.parametrize("values", [(), ("watchNamespaces={shop}",)])
def test_the_notes_end_with_commands_that_work(values: tuple[str, ...]) -> None:
    text = notes(*values)
    namespace = "shop" if values else "default"

    assert f"\nkubectl rollout status -n {NAMESPACE} deployment/{RELEASE}\n" in text
    assert text.rstrip().endswith("\nkubectl get connectionpools -A")
    manifest = re.search(rf"\nkubectl apply -n {namespace} -f - <<'EOF'\n(.*?)\nEOF\n", text, re.DOTALL)
    assert manifest, text
    pool = yaml.safe_load(manifest[1])
    parsed = parse({**pool, "metadata": {**pool["metadata"], "namespace": namespace, "uid": "1", "generation": 1}})
    secret = parsed.spec.users[0].secret_ref.name
    assert f"\nkubectl create secret generic {secret} -n {namespace} --from-literal=username=" in text


def test_the_notes_speak_of_the_registry_only_to_whom_has_given_no_image() -> None:
    assert "No registry is published yet" in notes()
    assert "registry" not in notes("registry=registry.example.com")
    assert "registry" not in notes("image.repository=localhost/operator")
