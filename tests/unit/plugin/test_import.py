import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.plugin.configurations import CONFIGURATIONS, Configuration
from tests.unit.plugin.world import World

from pgbouncer_operator import offline
from pgbouncer_operator.conversion import pgbouncer_ini
from pgbouncer_operator.conversion.result import Conversion

EACH = pytest.mark.parametrize("case", CONFIGURATIONS, ids=lambda case: case.sentence)
INI = next(each for each in CONFIGURATIONS if each.sentence.startswith("a web application"))
POOLER: dict[str, Any] = {
    "apiVersion": "postgresql.cnpg.io/v1",
    "kind": "Pooler",
    "metadata": {"name": "orders-pooler", "namespace": "orders", "uid": "7", "generation": 2},
    "spec": {
        "cluster": {"name": "orders"},
        "instances": 3,
        "type": "rw",
        "pgbouncer": {
            "poolMode": "transaction",
            "parameters": {"max_client_conn": "1000", "default_pool_size": "10", "server_idle_timeout": "300"},
        },
    },
    "status": {"instances": 3},
}


def converted(case: Configuration) -> Conversion:
    return pgbouncer_ini.convert(case.ini, case.userlist, "shop-pool")


@EACH
def test_a_configuration_becomes_pools(case: Configuration) -> None:
    assert [each["spec"] for each in converted(case).pools] == case.specs


@EACH
def test_what_cannot_be_kept_is_said_with_its_line(case: Configuration) -> None:
    remarks = [(each.place, each.message) for each in converted(case).remarks]
    for place, words in case.remarks.items():
        assert [message for at, message in remarks if at == place and words in message], (place, remarks)
    silent = {"pgbouncer.ini", "PgBouncer's default", *places_of_databases(case)}
    assert {at for at, _ in remarks} - silent <= set(case.remarks)


def places_of_databases(case: Configuration) -> set[str]:
    """Databases may need several remarks."""
    lines = case.ini.partition("[pgbouncer]")[0].splitlines()
    return {f"pgbouncer.ini:{number}" for number in range(1, len(lines) + 1)}


@EACH
def test_only_plain_passwords_become_secrets(case: Configuration) -> None:
    assert {
        each["metadata"]["name"]: each["stringData"]["password"] for each in converted(case).secrets
    } == case.secrets


@EACH
def test_a_setting_leaves_a_trace_unless_the_pool_does_the_same_without_it(case: Configuration) -> None:
    silent = [
        line.split()[0]
        for number, line in enumerate(case.ini.splitlines(), start=1)
        if "=" in line and line[0] not in ";%" and not leaves_a_trace(case, number)
    ]
    assert silent == case.silent


def leaves_a_trace(case: Configuration, number: int) -> bool:
    """Whether the result is another one without this line."""
    lines = case.ini.splitlines()
    lines[number - 1] = ""
    less = pgbouncer_ini.convert("\n".join(lines), case.userlist, "shop-pool")
    whole = converted(case)
    return (less.pools, less.remarks) != (whole.pools, whole.remarks)


@EACH
def test_the_output_passes_our_own_check(world: World, tmp_path: Path, case: Configuration) -> None:
    answer = imported(world, tmp_path, case)
    if "99999" in case.ini:
        assert answer.code == 1
        assert "error: shop-pool: spec.backend.port: must be less than or equal to 65535" in answer.errors
    else:
        assert answer.code == 0
        assert offline.check(answer.text).problems == ()


@EACH
def test_a_password_is_printed_nowhere_and_written_where_the_person_says(
    world: World, tmp_path: Path, case: Configuration
) -> None:
    answer = imported(world, tmp_path, case, "--secrets", str(tmp_path / "secrets.yaml"))
    written = [each for each in yaml.safe_load_all((tmp_path / "secrets.yaml").read_text(encoding="utf-8")) if each]
    assert {each["metadata"]["name"]: each["stringData"]["password"] for each in written} == case.secrets
    for password in [*case.secrets.values(), "0123456789abcdef", "c3RvcmVk", "md5secret"]:
        if len(password) > 3:
            assert password not in answer.text + answer.errors


def imported(world: World, folder: Path, case: Configuration, *arguments: str) -> Any:
    (folder / "pgbouncer.ini").write_text(case.ini, encoding="utf-8")
    (folder / "userlist.txt").write_text(case.userlist, encoding="utf-8")
    files = (str(folder / "pgbouncer.ini"), "--userlist", str(folder / "userlist.txt"))
    return world.run("import", *files, "--name", "shop-pool", *arguments)


def test_every_remark_stands_on_standard_error_and_in_a_comment_at_the_top(world: World, tmp_path: Path) -> None:
    answer = imported(world, tmp_path, INI)
    comments = [line.removeprefix("# - ") for line in answer.lines if line.startswith("# - ")]
    assert comments == answer.errors.splitlines()
    assert len(comments) > 2
    assert answer.text.startswith("# Made of pgbouncer.ini.")


def test_the_file_of_secrets_is_its_owners_and_a_file_that_is_there_stays(world: World, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.yaml"
    assert imported(world, tmp_path, INI, "--secrets", str(secrets)).code == 0
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    before = secrets.read_text(encoding="utf-8")
    answer = imported(world, tmp_path, INI, "--secrets", str(secrets))
    assert (answer.code, answer.text) == (2, "")
    assert "Give --secrets a new file." in answer.errors
    assert secrets.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("arguments", [(), ("a.ini", "--pooler", "b.yaml")])
def test_one_source_is_needed(world: World, arguments: tuple[str, ...]) -> None:
    assert world.run("import", *arguments).code == 2


def test_a_file_that_is_not_there_is_named(world: World, tmp_path: Path) -> None:
    answer = world.run("import", str(tmp_path / "nothing.ini"))
    assert answer.code == 2
    assert "nothing.ini cannot be read: No such file or directory. Correct the path." in answer.errors


# Poolers of CloudNativePG.


def pooler(world: World, folder: Path, *bodies: Any) -> Any:
    (folder / "pooler.yaml").write_text(yaml.safe_dump_all(bodies), encoding="utf-8")
    return world.run("import", "--pooler", str(folder / "pooler.yaml"))


def with_spec(**fields: Any) -> dict[str, Any]:
    return {**POOLER, "spec": {**POOLER["spec"], **fields}}


def test_a_pooler_becomes_a_pool_of_the_clusters_service(world: World, tmp_path: Path) -> None:
    answer = pooler(world, tmp_path, POOLER)
    assert answer.code == 0
    (body,) = yaml.safe_load_all(answer.text)
    assert body["metadata"] == {"name": "orders-pooler", "namespace": "orders"}
    ca = {"secretKeyRef": {"name": "orders-ca", "key": "ca.crt"}}
    assert body["spec"] == {
        "backend": {"host": "orders-rw", "tls": {"ca": ca}},
        "databases": [{"name": "app"}],
        "users": [{"name": "app", "secretRef": {"name": "orders-app"}}],
        "poolMode": "transaction",
        "serverConnections": {"max": 30},
        "clients": {"maxPerPod": 1000},
        "timeouts": {"queryWaitSeconds": 120, "serverIdleSeconds": 300},
        "replicas": 3,
    }
    assert offline.check(answer.text).problems == ()


def test_what_a_pool_does_not_have_is_said_by_its_field(world: World, tmp_path: Path) -> None:
    bouncer = {"poolMode": "session", "paused": True, "pg_hba": ["local all all trust"], "authQuery": "SELECT 1"}
    bouncer |= {"clientTLSSecret": {"name": "orders-tls"}, "serverCASecret": {"name": "own-ca"}}
    service = {"metadata": {"labels": {"team": "orders"}}, "spec": {"type": "LoadBalancer"}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "pgbouncer"}]}}
    body = with_spec(
        type="ro", pgbouncer=bouncer, serviceTemplate=service, template=template, monitoring={"enablePodMonitor": True}
    )
    answer = pooler(world, tmp_path, body)
    assert answer.code == 0
    (found,) = yaml.safe_load_all(answer.text)
    assert found["spec"]["service"] == {"labels": {"team": "orders"}}
    assert found["spec"]["clients"]["tls"] == {"secretName": "orders-tls"}
    assert found["spec"]["backend"]["tls"]["ca"]["secretKeyRef"]["name"] == "own-ca"
    places = {line.partition(": ")[0] for line in answer.errors.splitlines()}
    assert places == {
        "spec.cluster",
        "spec.monitoring",
        "spec.pgbouncer.authQuery",
        "spec.pgbouncer.parameters",
        "spec.pgbouncer.paused",
        "spec.pgbouncer.pg_hba",
        "spec.serviceTemplate.spec.type",
        "spec.template.metadata.labels",
        "spec.template.spec.containers",
        "spec.type",
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"apiVersion": "v1", "kind": "ConfigMap"}, "It is no Pooler of postgresql.cnpg.io/v1"),
        (with_spec(cluster={}), "spec.cluster.name is missing or of another type"),
        (with_spec(pgbouncer={"parameters": ["a"]}), "spec.pgbouncer.parameters is missing or of another type"),
        (with_spec(instances="two"), "spec.instances is missing or of another type"),
        (None, "It is empty."),
    ],
)
def test_what_is_no_pooler_is_refused(world: World, tmp_path: Path, body: Any, words: str) -> None:
    answer = pooler(world, tmp_path, body)
    assert (answer.code, answer.text) == (2, "")
    assert words in answer.errors
