"""The shell blocks of README and of operator/docs, word for word and in order, on a real cluster.

README comes first, as somebody who follows it would run it; the pages of operator/docs go on from its pool. What would
start another cluster, need a registry or take the operator from other tests is not run as it stands. Each such command
has its reason here, and what is done instead; tests/contract/test_readme.py compares its words.
"""

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from tests import documents
from tests.cluster import programs
from tests.cluster.pools import KIND, Namespace
from tests.cluster.server import sql
from tests.localcluster import demo, images
from tests.localcluster.deploy import CHART

SECONDS = 180  # until a command must have ended
# The image that README queries a pool with. Another one with the same psql stands for it here.
PSQL = "postgres:18"
# The password in README's Secret. Here it is that of the role in the namespace's PostgreSQL.
PASSWORD = "password=change-me"
NOT_RUN = {
    "make demo": "takes the namespace `shop` and the machine for itself; continuous integration runs its parts",
    "make test": "is what is running",
    "make image push REGISTRY=registry.example.com/team": "there is no registry; the names are compared instead",
}
INSTEAD = {
    # The operator is there, by the same chart. What this command would install is rendered.
    "helm install": ("helm install", "helm template"),
    "helm upgrade": ("helm upgrade", "helm template"),
    "helm uninstall": ("helm uninstall", "helm uninstall --dry-run"),
    "kubectl delete connectionpools": ("kubectl delete", "kubectl delete --dry-run=server"),
    # Other commands need the pool.
    "kubectl delete connectionpool ": ("kubectl delete", "kubectl delete --dry-run=server"),
    "kubectl delete crd": ("kubectl delete", "kubectl delete --dry-run=server"),
    # The chart has installed the definitions, and stays their owner.
    "kubectl apply --server-side -k crds": ("kubectl apply", "kubectl apply --dry-run=server --force-conflicts"),
    # The namespace has a PostgreSQL with TLS, which the whole page works with.
    "kubectl run postgres": ("kubectl run", "kubectl run --dry-run=client --output=yaml"),
}


def to_run(command: str) -> str:
    """The command as it is run here."""
    for start, (old, new) in INSTEAD.items():
        if command.startswith(start):
            return command.replace(old, new, 1)
    return command


@pytest.fixture(scope="module")
def directory(here: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone, as far as the commands see it, with README's pool and its query in their files."""
    found = tmp_path_factory.mktemp("clone")
    for name in (".venv", "charts", "crds", "operator"):
        (found / name).symlink_to(documents.REPOSITORY / name)
    (found / "pool.yaml").write_text(demo.example(), encoding="utf-8")
    (query,) = (block.text for block in documents.blocks("yaml", documents.README) if "kind: Job" in block.text)
    (found / "query.yaml").write_text(query.replace(PSQL, here.site.reference("clients")), encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def password(here: Namespace) -> str:
    """The password of the role `shop`. Its Secret is deleted, because README's reader makes it."""
    found = programs.values(here, "shop-db")["password"]
    here.kubectl("delete", "secret", "shop-db")
    return found


@pytest.fixture(scope="module")
def environment(here: Namespace, directory: Path) -> Iterator[Mapping[str, str]]:
    """A kubeconfig whose current namespace is this module's, as the commands name none."""
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_bytes(Path(here.site.env["KUBECONFIG"]).read_bytes())
    kubeconfig.chmod(0o600)
    chosen = {**here.site.env, "KUBECONFIG": str(kubeconfig)}
    run(f"kubectl config set-context --current --namespace={here.name}", directory, chosen)
    yield chosen
    kubeconfig.unlink()


def run(command: str, directory: Path, environment: Mapping[str, str]) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=directory,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def printed(here: Namespace, directory: Path, environment: Mapping[str, str], password: str) -> Mapping[str, str]:
    """What each command printed first, by the command as its page has it. A command may stand on several pages."""
    told: dict[str, str] = {}
    for command in documents.commands():
        if command not in NOT_RUN:
            runnable = to_run(command).replace(PSQL, here.site.reference("clients"))
            runnable = runnable.replace(PASSWORD, shlex.quote(PASSWORD.replace("change-me", password)))
            told.setdefault(command, run(runnable, directory, environment))
    return told


def one(printed: Mapping[str, str], start: str) -> str:
    """What the only command that starts so has printed."""
    (found,) = (text for command, text in printed.items() if command.startswith(start))
    return found


def test_every_command_runs_but_those_that_cannot_here(printed: Mapping[str, str]) -> None:
    assert set(printed) | set(NOT_RUN) == set(documents.commands())
    assert set(NOT_RUN) <= set(documents.commands())
    assert all(any(command.startswith(start) for command in printed) for start in INSTEAD)


def test_a_query_through_the_pool_proves_it(printed: Mapping[str, str]) -> None:
    said = one(printed, "kubectl logs job/query")
    assert "PostgreSQL 18" in said
    assert " shop " in said


def test_the_line_of_get_has_the_columns_that_readme_shows(printed: Mapping[str, str]) -> None:
    shown = documents.blocks("", documents.README)[0].text.splitlines()
    head, values = printed["kubectl get connectionpools"].splitlines()
    assert head.split() == shown[0].split()
    assert values.split()[:4] == shown[1].split()[:4]


def test_describe_and_explain_tell(printed: Mapping[str, str]) -> None:
    assert "a login to PostgreSQL works" in one(printed, "kubectl describe")
    assert "queryWaitSeconds" in one(printed, "kubectl explain connectionpool.spec --recursive")
    assert "over all pods together" in " ".join(one(printed, "kubectl explain connectionpool.spec.server").split())


@pytest.mark.usefixtures("printed")
def test_the_changes_shown_are_in_force(here: Namespace) -> None:
    here.wait_ready(demo.POOL)
    status = here.get(KIND, demo.POOL)["status"]
    assert status["serverConnections"]["max"] == 20
    assert status["summary"]["pods"] == "3/3"
    assert status["configuration"]["applied"] == "3/3"


def test_the_files_shown_hold_the_change_and_no_password(printed: Mapping[str, str], here: Namespace) -> None:
    intent = yaml.safe_load(one(printed, "kubectl get configmap shop-pool-pgbouncer"))
    ledger = yaml.safe_load(one(printed, "kubectl get configmap shop-pool-grants"))
    assert intent["pool"] == f"{here.name}/{demo.POOL}"
    assert intent["settings"]["query_wait_timeout"] == 10
    assert sum(each["cap"] for each in ledger["pods"].values()) <= 20


def test_the_offline_commands_know_the_first_example(printed: Mapping[str, str]) -> None:
    program = "PYTHONPATH=operator .venv/bin/python -m pgbouncer_operator"
    assert f"{demo.POOL}: ok, 2 pods share 25 server connections" in one(printed, f"{program} check")
    kinds = {body["kind"] for body in yaml.safe_load_all(one(printed, f"{program} render")) if body}
    assert kinds == {"ConfigMap", "Deployment", "PodDisruptionBudget", "Secret", "Service"}


@pytest.mark.parametrize("command", ["helm install", "helm upgrade"])
def test_the_chart_installs_the_images_that_were_pushed(printed: Mapping[str, str], command: str) -> None:
    rendered = one(printed, command)
    version = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"]
    for name in images.RELEASED:
        assert f"registry.example.com/team/pgbouncer-operator/{name}:{version}" in rendered
    assert images.references()["pool"].rpartition(":")[2].startswith(f"{version}-")


def test_the_removal_would_remove_the_operator_all_pools_and_their_definition(printed: Mapping[str, str]) -> None:
    assert f'"{demo.POOL}" deleted' in one(printed, "kubectl delete connectionpools")
    assert f'"{demo.POOL}" deleted' in one(printed, "kubectl delete connectionpool ")
    assert "uninstalled" in one(printed, "helm uninstall")
    assert "connectionpools.pgbouncer-operator.io" in one(printed, "kubectl delete crd")


def test_a_server_for_a_try_is_a_pod_and_a_service(printed: Mapping[str, str]) -> None:
    made = filter(None, yaml.safe_load_all(one(printed, "kubectl run postgres")))  # kubectl writes an empty one between
    assert {(body["kind"], body["metadata"]["name"]) for body in made} == {("Service", "postgres"), ("Pod", "postgres")}


def test_a_pod_says_what_its_agent_sees(printed: Mapping[str, str]) -> None:
    assert yaml.safe_load(one(printed, "kubectl get --raw"))["cap"] > 0


def test_the_sql_for_looking_up_logins_is_printed_by_the_operator(printed: Mapping[str, str]) -> None:
    assert "CREATE" in one(printed, "kubectl exec -n pgbouncer-operator")


@pytest.mark.parametrize("block", documents.blocks("sql"), ids=str)
def test_postgresql_takes_every_statement(here: Namespace, block: documents.Block) -> None:
    sql(here, f"BEGIN;\n{block.text}\nROLLBACK;")


@pytest.mark.usefixtures("printed")
def test_the_api_server_takes_every_manifest(here: Namespace, say: Callable[[str], None]) -> None:
    """A Job cannot change, so README's has the image here that it ran with."""
    for block in documents.blocks("yaml"):
        text = block.text.replace(PSQL, here.site.reference("clients"))
        said = here.kubectl("apply", "--dry-run=server", "-f", "-", text=text)
        say(f"{block}: {said.strip()}")
        assert "dry run" in said
