"""kubectl and the API server give the verdicts of the offline commands, object by object and word by word."""

import contextlib
import http.client
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract.corpus import PLAIN, UNREADABLE, Object, corpus
from tests.controlplane.test_crd_rules import GROUP, Server, moved, server
from tests.localcluster.fixture import cluster
from tests.localcluster.problem import Problem

from pgbouncer_operator import admission, naming
from pgbouncer_operator.api.connection_pool import InvalidSpec

__all__ = ["cluster", "server"]  # pytest finds the fixtures by their names here

pytestmark = pytest.mark.controlplane

PLURALS = {naming.KIND: naming.PLURAL, naming.SERVER_KIND: naming.SERVER_PLURAL}
HEAD = f"apiVersion: {GROUP}/{naming.VERSION}\nkind: {naming.KIND}\nmetadata: {{name: shop-pool}}\nvalue: "


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[http.client.HTTPConnection]:
    """The API server behind `kubectl proxy`, which logs in: a kubectl for each object would take minutes."""
    command = ["kubectl", "proxy", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(server.cluster.env)) as proxy:
        try:
            assert proxy.stdout is not None
            address = proxy.stdout.readline().split()[-1]
            with contextlib.closing(http.client.HTTPConnection(address, timeout=30)) as connection:
                yield connection
        finally:
            proxy.terminate()


def refusal(api: http.client.HTTPConnection, body: Object) -> str:
    """What the API server says against an object; empty if it takes it. Nothing is stored."""
    path = f"/apis/{GROUP}/{naming.VERSION}/namespaces/default/{PLURALS[body['kind']]}"
    headers = {"Content-Type": "application/json"}
    api.request("POST", f"{path}?dryRun=All&fieldValidation=Strict", json.dumps(moved(body)), headers)
    answer = api.getresponse()
    said: Any = json.loads(answer.read())
    assert answer.status in {201, 400, 422}, said
    return "" if answer.status == 201 else str(said["message"])


def test_the_offline_commands_and_the_api_server_agree_on_every_object(
    api: http.client.HTTPConnection, server: Server
) -> None:
    differences = []
    for body in corpus():
        judged, said = admission.judged(body), refusal(api, body)
        if server.older and isinstance(judged, InvalidSpec) and not said:
            differences += [str(each) for each in judged.problems if not str(each).startswith("spec.parameters")]
            continue
        if isinstance(judged, InvalidSpec) != bool(said):
            differences.append(
                f"offline: {judged if isinstance(judged, InvalidSpec) else 'ok'}; server: {said or 'ok'}"
            )
    assert differences == []


def test_kubectl_reads_plain_words_as_the_offline_commands_do(server: Server) -> None:
    manifest = "---\n".join(f"{HEAD}{text}\n" for text, _ in PLAIN)
    options = ("--dry-run=client", "--validate=false", "--output=json", "--filename=-")
    rest, found = server.cluster.kubectl("create", *options, input=manifest).lstrip(), []
    while rest:  # one JSON text after the other
        value, end = json.JSONDecoder().raw_decode(rest)
        found.append(value)
        rest = rest[end:].lstrip()
    assert [(text, each.get("value")) for (text, _), each in zip(PLAIN, found, strict=True)] == list(PLAIN)


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_the_offline_commands_cannot_read_kubectl_cannot_read(server: Server, text: str) -> None:
    with pytest.raises(Problem):
        server.cluster.kubectl(
            "create", "--dry-run=client", "--validate=false", "--filename=-", input=f"{HEAD}{text}\n"
        )
