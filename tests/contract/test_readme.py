"""README is short, and what it tells a newcomer to do is what the demo, the chart and continuous integration do."""

import re
import shlex
from pathlib import Path

import yaml
from tests import documents
from tests.contract.test_documents import MANIFESTS, POOL, pool
from tests.localcluster import demo, deploy, images

from pgbouncer_operator import naming

ROOT = documents.REPOSITORY
TEXT = documents.text(documents.README)
COMMANDS = documents.commands(documents.README)
LINES = 160
SETTING_UP = {"make demo", "make test"}  # the two commands that do all the set-up themselves


def command(start: str) -> list[str]:
    """The words of README's only command that starts so."""
    (found,) = (each for each in COMMANDS if each.startswith(start))
    return shlex.split(found)


def test_readme_is_read_in_ten_minutes() -> None:
    assert len(TEXT.splitlines()) <= LINES


def test_the_picture_stands_before_the_first_section() -> None:
    (picture,) = re.findall(r"^!\[.+\]\((.+)\)$", TEXT.partition("\n## ")[0], re.MULTILINE)
    assert (ROOT / picture).suffix == ".svg"


def test_the_first_pool_is_the_one_that_the_demo_applies() -> None:
    assert yaml.safe_load(demo.example()) == POOL
    assert POOL["metadata"]["name"] == demo.POOL
    assert POOL["spec"]["serverConnections"]["max"] == demo.MOST
    assert pool().spec.replicas == demo.PODS
    assert f"{demo.CLIENTS:,} clients" in TEXT
    assert f"{demo.SECONDS} seconds" in TEXT


def test_the_lines_of_the_demo_are_those_that_it_prints() -> None:
    (block,) = documents.blocks("text", documents.README)
    head, line = block.text.splitlines()
    assert f'print("{head}")' in Path(demo.__file__).read_text(encoding="utf-8")
    time, _, clients, connections, bar, _waiting, _rate, failed = line.split()
    assert (int(time), int(clients), int(failed)) == (5, demo.CLIENTS, 0)
    now, most = map(int, connections.split("/"))
    assert (most, bar) == (demo.MOST, "#" * now + "." * (most - now))


def test_installing_is_two_commands_and_the_first_pool_three_and_twelve_lines_of_yaml() -> None:
    found = documents.blocks("sh", documents.README)
    install, make = (next(each for each in found if word in each.text) for word in ("helm install", "pool.yaml"))
    assert len(install.commands) == 2
    assert [each.split()[1] for each in make.commands] == ["create", "apply", "wait", "get"]
    assert len(demo.example().splitlines()) <= 12


def test_the_secret_and_the_server_for_a_try_are_those_that_the_pool_names() -> None:
    (user,), (database,) = POOL["spec"]["users"], POOL["spec"]["databases"]
    words = command("kubectl create secret")
    assert words[3:5] == ["generic", user["secretRef"]["name"]]
    login = dict(word.removeprefix("--from-literal=").split("=") for word in words[5:])
    assert set(login) == {"username", "password"}
    server = command("kubectl run")
    assert server[2] == POOL["spec"]["backend"]["host"]
    assert {"--port=5432", "--expose"} <= set(server)
    assert dict(word.removeprefix("--env=").split("=") for word in server if word.startswith("--env=")) == {
        "POSTGRES_USER": login["username"],
        "POSTGRES_PASSWORD": login["password"],
        "POSTGRES_DB": database["name"],
    }


def test_the_query_runs_by_the_restricted_profile_and_is_the_one_waited_for() -> None:
    (job,) = (body for body in MANIFESTS if body["kind"] == "Job")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert f"--image={container['image']}" in command("kubectl run")
    assert command("kubectl wait job")[2] == command("kubectl logs")[2] == f"job/{job['metadata']['name']}"


def test_continuous_integration_runs_the_test_command_of_readme() -> None:
    assert set(COMMANDS) >= SETTING_UP
    assert (ROOT / ".ci/run").read_text(encoding="utf-8").rstrip().endswith("exec make test")


def test_the_chart_is_installed_and_removed_as_the_tests_install_it() -> None:
    words = command("helm install")
    assert words[2:4] == [deploy.RELEASE, str(deploy.CHART.relative_to(ROOT))]
    assert words[words.index("-n") + 1] == deploy.NAMESPACE
    assert "--create-namespace" in words
    everywhere = documents.commands()
    assert f"helm uninstall {deploy.RELEASE} -n {deploy.NAMESPACE}" in everywhere
    definitions = " ".join(f"{each}.{naming.GROUP}" for each in (naming.PLURAL, naming.SERVER_PLURAL))
    assert f"kubectl delete crd {definitions}" in everywhere


def test_the_registry_pushed_to_is_the_registry_installed_from() -> None:
    registry = command("make image push")[-1].removeprefix("REGISTRY=")
    assert command("helm install")[-2:] == ["--set", f"registry={registry}"]
    values = yaml.safe_load((deploy.CHART / "values.yaml").read_text(encoding="utf-8"))
    assert values["registry"] == ""
    assert {values[each]["repository"].rpartition("/")[2] for each in ("image", "poolImage")} == set(images.RELEASED)


def test_every_figure_names_a_test_that_repeats_it() -> None:
    figures = TEXT.partition("## Figures\n")[2].partition("\n## ")[0]
    rows = [line for line in figures.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 5
    for row in rows:
        repeat = re.findall(r"`([^`]+)`", row)[-1]
        if repeat not in SETTING_UP:
            assert re.fullmatch(r"(PGBOUNCER_TEST_\w+=\d+ )?tests/cluster/test_\w+\.py", repeat), row
            variable, _, file = repeat.rpartition(" ")
            assert variable.partition("=")[0] in (ROOT / file).read_text(encoding="utf-8")
