"""Every managed object and every file of PgBouncer, byte by byte, for pools that people write.

`cases/<name>/pool.yaml` is the pool, and `secret.yaml` the Secret of its server if it names one. `expected/` holds one
file for each object and each file of one pod.
`make golden` rewrites them.
"""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from pgbouncer_operator.api.connection_pool import ConnectionPool
from pgbouncer_operator.pgbouncer import hba, ini, userlist
from pgbouncer_operator.pgbouncer.composition import entries
from pgbouncer_operator.protocol.grants import Grant, Grants, split
from pgbouncer_operator.protocol.intent import Intent
from pgbouncer_operator.reconcile.specification import read
from pgbouncer_operator.resources.backend_secret import read_server, with_server
from pgbouncer_operator.resources.connection_secret import connection_secret, connection_secrets
from pgbouncer_operator.resources.deployment import Platform
from pgbouncer_operator.resources.desired import Desired, desired, dress
from pgbouncer_operator.resources.grants import grants_config_map
from pgbouncer_operator.resources.login import Login

CASES = Path(__file__).parent / "cases"
PLATFORM = Platform(image="pgbouncer-operator-pool:0.1.0", image_pull_policy="IfNotPresent", endpoint_delay=5)
LOGIN = Login("app", "p@:/?#% ü\"'\\")
IDENTITY = {"uid": "00000000-0000-4000-8000-000000000001", "generation": 1}


def load(case: Path) -> ConnectionPool:
    body = yaml.safe_load((case / "pool.yaml").read_text())
    pool = read({**body, "metadata": {"namespace": "default", **body["metadata"], **IDENTITY}})
    if not (case / "secret.yaml").exists():
        return pool
    plain = yaml.safe_load((case / "secret.yaml").read_text())["stringData"]
    secret = {"data": {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}}
    return with_server(pool, read_server(pool.spec, secret))


def written(body: dict[str, Any]) -> str:
    """An object as YAML; a Secret with its values in plain, for people to read."""
    if body["kind"] == "Secret":
        plain = {key: base64.b64decode(value).decode() for key, value in body["data"].items()}
        body = {**body, "data": plain}
    return yaml.safe_dump(body, sort_keys=True, allow_unicode=True, width=120)


def files(content: Intent, wanted: Desired) -> dict[str, str]:
    """What one pod's agent would make of the configuration under its equal share of the budget."""
    cap = wanted.fit.static
    if not cap:
        return {}  # no pod
    logins = tuple(ini.UserEntry(each.name.replace("-", "_"), LOGIN.password, each.max) for each in content.users)
    composition = ini.Composition(
        intent=content,
        shares=split(cap, [(each.name, each.max) for each in entries(content)]),
        seq=2,
        logins=logins,
        credentials="golden",
        stats_user="probe_golden",
        peer_id=7,
        lookup="lookup" if content.auth_query else "",
    )
    return {
        "pgbouncer.ini": ini.render(composition),
        "userlist.txt": userlist.render((each.login, each.password) for each in logins),
        "hba.conf": hba.render("probe_golden"),
    }


def produced(pool: ConnectionPool) -> dict[str, str]:
    """File name to text: everything the pool consists of."""
    wanted = desired(pool, PLATFORM)
    share = wanted.fit.static
    pods = {f"pod-{place}": Grant(share, 2, share) for place in range(wanted.fit.replicas)}
    ledger = dress(pool, grants_config_map(pool.metadata.name, Grants(2, share, pods)))
    objects = [wanted.config_map, ledger, wanted.service, wanted.pod_disruption_budget, wanted.deployment]
    objects += [connection_secret(pool, entry, LOGIN) for entry in connection_secrets(pool)]
    found = {f"{body['kind'].lower()}-{body['metadata']['name']}.yaml": written(body) for body in objects}
    found |= files(Intent.from_json(wanted.config_map["data"]["current.json"]), wanted)
    found["fit.txt"] = f"{wanted.fit.shortage or 'all pods fit'}\n{wanted.fit}\n"
    return found


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_a_pool_becomes_exactly_these_objects_and_files(case: Path, request: pytest.FixtureRequest) -> None:
    found, expected = produced(load(case)), case / "expected"
    if request.config.getoption("--rewrite-golden"):
        expected.mkdir(exist_ok=True)
        for old in expected.iterdir():
            old.unlink()
        for name, text in found.items():
            (expected / name).write_text(text)
    assert found == {path.name: path.read_text() for path in sorted(expected.iterdir())}


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_a_password_stands_in_secrets_and_in_the_user_list_only(case: Path) -> None:
    holders = {name for name, text in produced(load(case)).items() if "p@:/?#%" in text}
    assert all(name == "userlist.txt" or name.startswith("secret-") for name in holders)
