"""The API server at once: where a test takes the time, kubectl's own start must not be in it."""

import contextlib
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

from tests.cluster.pools import Namespace, Object
from tests.localcluster.problem import Problem

from pgbouncer_operator import naming

POOLS = f"apis/{naming.API_VERSION}/namespaces/{{}}/{naming.PLURAL}"
SERVERS = f"apis/{naming.API_VERSION}/namespaces/{{}}/{naming.SERVER_PLURAL}"
SECRETS = "api/v1/namespaces/{}/secrets"
CONFIG_MAPS = "api/v1/namespaces/{}/configmaps"
PODS = "api/v1/namespaces/{}/pods"


@dataclass(frozen=True, slots=True)
class Api:
    """Reads and merge patches through a proxy at this address; OSError when it is refused or nobody answers."""

    address: str
    namespace: str

    def get(self, collection: str, name: str = "") -> Object:
        """One object, or the list of all."""
        path = "/".join(filter(None, (collection.format(self.namespace), name)))
        with urllib.request.urlopen(f"http://{self.address}/{path}", timeout=30) as answer:
            found: Object = json.load(answer)
        return found

    def patch(self, collection: str, name: str, body: Object) -> None:
        """Change one object; HTTPError in the API server's words when it refuses."""
        request = urllib.request.Request(
            f"http://{self.address}/{collection.format(self.namespace)}/{name}",
            json.dumps(body).encode(),
            {"Content-Type": "application/merge-patch+json"},
            method="PATCH",
        )
        urllib.request.urlopen(request, timeout=30).close()


@contextlib.contextmanager
def api(here: Namespace) -> Iterator[Api]:
    """A proxy while the block runs."""
    command = ("kubectl", "proxy", "--port=0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(here.site.env)) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:\d+", said)
            if found is None:
                raise Problem(f"kubectl proxy does not say where it serves: {said!r}")
            yield Api(found[0], here.name)
        finally:
            process.kill()
