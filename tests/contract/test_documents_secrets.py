"""The page about Secrets of providers: each pool on it is complete with the Secret that the page shows for it."""

from typing import Any

import pytest
import yaml
from tests import documents

from pgbouncer_operator import naming, offline
from pgbouncer_operator.resources.backend_secret import URL_KEYS

PAGE = documents.DOCS / "how-to/use-a-secret-of-your-provider.md"
BODIES = [body for block in documents.blocks("yaml", PAGE) for body in yaml.safe_load_all(block.text)]
SECRETS = [body for body in BODIES if body["kind"] == "Secret"]
POOLS = [body for body in BODIES if body["kind"] == naming.KIND]


@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool["metadata"]["name"])
def test_a_pool_has_its_server_database_and_login_by_the_secret_shown(pool: dict[str, Any]) -> None:
    rendered = offline.render(yaml.safe_dump_all([pool, *SECRETS]), "pool:1")
    assert rendered.problems == ()
    assert "change-me" not in rendered.text
    named = pool["spec"]["backend"]["secretRef"]["name"]
    (secret,) = (each for each in SECRETS if each["metadata"]["name"] == named)
    assert f"secretName: {secret['metadata']['name']}" in rendered.text


def test_the_keys_that_are_found_by_themselves_are_named() -> None:
    *first, last = (f"`{key}`" for key in URL_KEYS)
    assert f"The keys {', '.join(first)} and {last} are found by themselves" in documents.text(PAGE)
