"""A newer operator brings a newer image for the pools: their pods stay as they are until somebody asks for it."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cluster import operators, programs
from tests.cluster.pools import KIND, Namespace, pool
from tests.localcluster import deploy, layout
from tests.localcluster.commands import load_archives
from tests.localcluster.waiting import let_pass

from pgbouncer_operator import naming

POOL = "upgraded"
PODS, MOST = 2, 9
LOAD = ("--clients", "12", "--reconnecting", "4", "--lifetime", "4", "--think", "0.05")
DRAIN = {"timeoutSeconds": 10, "transactionSeconds": 10}
WATCHED_SECONDS = 5.0  # the operator has looked at every pool long before


@pytest.fixture(scope="module")
def newer(here: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The pool image under another tag, as a newer operator would bring it; the old operator again afterwards."""
    reference = here.site.reference("pool") + "-newer"
    path = tmp_path_factory.mktemp("image") / "pool.tar"
    rename(here.site.built["pool"].archive, path, reference)
    load_archives(layout.from_environment(), [path], here.site.progress)
    yield reference
    deploy.install(here.site)


def rename(archive: Path, to: Path, reference: str) -> None:
    """Copy a docker-archive and give its image another name."""
    with tarfile.open(archive) as old, tarfile.open(to, "w") as new:
        for member in old:
            content = old.extractfile(member)
            if member.name == "manifest.json" and content:
                manifest = json.load(content)
                manifest[0]["RepoTags"] = [reference]
                text = json.dumps(manifest).encode()
                member.size, content = len(text), io.BytesIO(text)
            new.addfile(member, content)


def images(here: Namespace) -> set[str]:
    return {each["image"] for pod in here.pods(POOL) for each in pod["spec"]["containers"]}


def test_an_upgrade_of_the_operator_rolls_nothing_until_it_is_asked_to(
    here: Namespace, newer: str, say: Callable[[str], None]
) -> None:
    here.apply(pool(POOL, MOST, replicas=PODS, drain=DRAIN))
    here.wait_ready(POOL)
    lives, old = here.lives(POOL), images(here)
    with programs.load(here, f"{POOL}-connection", *LOAD) as running:
        deploy.install(here.site, *deploy.image_values("poolImage", newer))
        operators.wait_leader(here.site)
        message = here.wait_condition(POOL, "UpdateAvailable", "True")
        let_pass(WATCHED_SECONDS)
        here.patch(POOL, timeouts={"queryWaitSeconds": 44})  # by the new operator to the old pods
        here.wait_ready(POOL)
        assert here.lives(POOL) == lives
        assert images(here) == old
        say(f"upgraded: {message}")
        here.patch(POOL, upgradePolicy="Automatic")
        here.wait(lambda: images(here) == {newer}, "pods with the newer image", 180)
        here.wait(lambda: len(here.all("pods", f"{naming.LABEL_POOL}={POOL}")) == PODS, "the old pods are gone", 180)
        here.wait_ready(POOL)
        account, rows = programs.finish(here, running)
    say(f"Automatic: {account['failed'] + account['refused']} of {account['committed']} failed in the roll")
    assert here.condition(POOL, "UpdateAvailable").get("status") in {None, "False"}
    assert here.get(KIND, POOL)["status"]["image"] == newer
    assert not programs.trouble(account, rows)
