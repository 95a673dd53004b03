"""Which of several PostgresServers with one host and port gives out its connections, and what the others say."""

from dataclasses import replace

import pytest
from tests.unit.reconcile.servers_made import MONITORING, TODAY, server, view

from pgbouncer_operator.reconcile.cache.servers import Standing, standing
from pgbouncer_operator.reconcile.cache.views import ServerView
from pgbouncer_operator.reconcile.server.status import ServerReadings, server_status
from pgbouncer_operator.sizing.allocation import Allocations


def of(namespace: str, name: str, created: str, limits: bool = False) -> ServerView:
    """A server of 60 connections at `db.example`."""
    known = {"limits": {"maxConnections": 100, "reserved": 3, "address": "example/db:5432"}} if limits else {}
    made = view(known, host="db.example", monitoring=MONITORING)
    return replace(made, namespace=namespace, name=name, uid=f"{namespace}/{name}", created=created)


OLD, YOUNG = of("shop", "old", "2026-01-01"), of("shop", "young", "2026-01-02")
FOREIGN, READ_FOREIGN = of("bank", "main", "2025-01-01"), of("bank", "main", "2025-01-01", limits=True)
READ_OLD, READ_YOUNG = of("shop", "old", "2026-01-01", limits=True), of("shop", "young", "2026-01-02", limits=True)


@pytest.mark.parametrize(
    ("one", "other", "chosen", "expected"),
    [
        (OLD, YOUNG, "", ("in force", "younger")),
        (OLD, READ_YOUNG, "", ("in force", "younger")),
        (OLD, YOUNG, "shop/young", ("superseded", "in force")),
        (OLD, FOREIGN, "", ("contested", "contested")),
        (READ_OLD, FOREIGN, "", ("in force", "superseded")),
        (OLD, READ_FOREIGN, "", ("superseded", "in force")),
        (READ_OLD, READ_FOREIGN, "", ("contested", "contested")),
        (READ_OLD, READ_FOREIGN, "shop/old", ("in force", "superseded")),
        (OLD, READ_FOREIGN, "shop/old", ("in force", "superseded")),
        (OLD, FOREIGN, "else/where", ("contested", "contested")),
    ],
)
def test_of_two_servers_with_one_host_one_gives_its_connections(
    one: ServerView, other: ServerView, chosen: str, expected: tuple[str, str]
) -> None:
    assert (standing(one, [other], chosen), standing(other, [one], chosen)) == expected


def test_a_younger_server_of_a_namespace_speaks_for_nobody_towards_others() -> None:
    assert standing(OLD, [READ_YOUNG, FOREIGN], "") == "contested"
    assert standing(READ_YOUNG, [OLD, FOREIGN], "") == "younger"
    assert standing(FOREIGN, [OLD, READ_YOUNG], "") == "contested"


@pytest.mark.parametrize("place", [each for each in Standing if each is not Standing.IN_FORCE])
def test_what_a_server_says_of_another_names_nothing_of_another_namespace(place: Standing) -> None:
    made = view()
    status = server_status(made, server(made), Allocations(0, {}), ServerReadings(standing=place), TODAY)
    (found,) = [each for each in status.conditions or () if each.reason == "HostTaken" and each.type != "Stalled"]
    assert found.status == "False"
    assert found.type == ("WithinBudget" if place is Standing.CONTESTED else "Ready")
    assert "bank" not in found.message
