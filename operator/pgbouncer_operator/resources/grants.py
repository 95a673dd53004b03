"""The ConfigMap with the pool's ledger: the grant of each pod."""

from typing import Any

from pgbouncer_operator import naming
from pgbouncer_operator.protocol.grants import Grants


def grants_config_map(pool: str, grants: Grants) -> dict[str, Any]:
    """The ledger of the pool of that name. It is replaced with its resourceVersion and never applied."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": naming.grants_config_map(pool)},
        "data": {naming.GRANTS_KEY: grants.to_json()},
    }
