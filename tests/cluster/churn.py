"""Endpoints of Services that nobody uses change all the time, so that kube-proxy and the operator's watch are busy."""

import contextlib
import threading
from collections.abc import Iterator

from tests.cluster.api import Api, api
from tests.cluster.pools import Namespace, Object

SLICES = "apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
SERVICES = 10
PERIOD = 0.2  # seconds between two changes
MOST = 300  # changes: a minute of them


def manifests(number: int) -> tuple[Object, Object]:
    """A Service without a selector, and its EndpointSlice. The addresses are for documentation: RFC 5737."""
    name = f"churn-{number}"
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"name": "any", "port": 5432}]},
    }
    endpoint_slice = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "any", "port": 5432}],
        **endpoints(number),
    }
    return service, endpoint_slice


def endpoints(count: int) -> Object:
    """The changing part of an EndpointSlice: another count is another address."""
    return {"endpoints": [{"addresses": [f"192.0.2.{1 + count % 250}"]}]}


@contextlib.contextmanager
def churn(here: Namespace) -> Iterator[None]:
    """Five changes a second while the block runs, for a minute at most."""
    bodies = [body for number in range(SERVICES) for body in manifests(number)]
    here.apply({"apiVersion": "v1", "kind": "List", "items": bodies})
    over = threading.Event()
    try:
        with api(here) as at:
            changes = threading.Thread(target=_change, args=(at, over), daemon=True)
            changes.start()
            try:
                yield
            finally:
                over.set()
                changes.join()
    finally:
        names = [f"churn-{number}" for number in range(SERVICES)]
        here.kubectl("delete", "service,endpointslice", *names, "--wait=false", "--ignore-not-found")


def _change(at: Api, over: threading.Event) -> None:
    for count in range(MOST):
        if over.wait(PERIOD):
            return
        at.patch(SLICES, f"churn-{count % SERVICES}", endpoints(count + 1))
