"""A real API server accepts every object of the samples, as it would store it. Nothing is stored."""

import pytest
from tests.contract.samples import FOREIGN, OURS, Object, every, kind
from tests.controlplane.test_crd_rules import Server, moved, server
from tests.localcluster.fixture import cluster

__all__ = ["cluster", "server"]  # pytest finds the fixtures by their names here

pytestmark = pytest.mark.controlplane

# The API server has no definitions of FOREIGN: tests/contract/test_samples.py compares their fields.
JUDGED = {
    f"{path.stem}-{body['kind']}-{body['metadata']['name']}": body
    for path, body in every()
    if kind(body) not in FOREIGN
}


@pytest.mark.parametrize("body", JUDGED.values(), ids=JUDGED)
def test_the_api_server_accepts_an_object_of_a_sample(server: Server, body: Object) -> None:
    sent = moved(body) if body["kind"] in OURS else body
    said = server.kubectl("create", "--dry-run=server", "--validate=strict", "--filename=-", body=sent)
    assert "created" in said
