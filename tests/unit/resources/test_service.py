"""The Service of a pool: what of the spec reaches it, and what is left to the API server."""

from typing import Any

import pytest
from tests.unit.resources.test_deployment import pool

from pgbouncer_operator.resources.service import service

TLS = {"tls": {"secretName": "shop-tls"}}


def spec(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = service(pool(service=fields, clients=TLS))["spec"]
    return found


def test_what_no_pool_asks_for_is_left_to_the_api_server() -> None:
    assert spec().keys() == {"type", "selector", "ports"}
    assert spec()["ports"][0].keys() == {"name", "port", "targetPort", "protocol", "appProtocol"}


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "NodePort", "externalTrafficPolicy": "Local"},
        {"trafficDistribution": "PreferSameZone"},
        {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]},
        {"ipFamilies": ["IPv6"]},
        {"sessionAffinity": "ClientIP"},
        {"type": "ClusterIP", "sessionAffinity": "None", "ipFamilyPolicy": "SingleStack"},
    ],
    ids=" ".join,
)
def test_a_field_of_kubernetes_reaches_the_service_as_it_is_written(fields: dict[str, Any]) -> None:
    assert spec(**fields) == {**spec(), **fields}


def test_a_port_of_every_node_stands_beside_the_port_of_the_service() -> None:
    (port,) = spec(type="NodePort", nodePort=30432, port=5432)["ports"]
    assert (port["nodePort"], port["port"]) == (30432, 5432)
