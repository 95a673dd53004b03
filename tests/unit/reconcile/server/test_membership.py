"""A pool at a PostgresServer: who gets in, as what, and what is said to the others."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.reconcile import looks
from tests.unit.reconcile.servers_made import NAME, entry, found, member, server, view

from pgbouncer_operator import naming
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool, InvalidSpec
from pgbouncer_operator.api.status import Recommendation
from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.reconcile.budget import capacity
from pgbouncer_operator.reconcile.budget.size import PoolSize
from pgbouncer_operator.reconcile.cache.servers import KnownServer
from pgbouncer_operator.reconcile.cache.servers import allowed as consents
from pgbouncer_operator.reconcile.cache.views import PoolView, ServerView
from pgbouncer_operator.reconcile.memory import Missing
from pgbouncer_operator.reconcile.observed import Ledger, Membership, Observed
from pgbouncer_operator.reconcile.server import membership
from pgbouncer_operator.reconcile.specification import parsed
from pgbouncer_operator.reconcile.status import checks
from pgbouncer_operator.reconcile.status.decided import Decided
from pgbouncer_operator.sizing.allocation import POOLS, Entry
from pgbouncer_operator.sizing.fit import Fit

SELECTOR = {"from": "Selector", "selector": {"matchLabels": {"db": "rds"}}}


def pool(made: PoolView | None = None) -> ConnectionPool:
    known = parsed(made or member())
    assert isinstance(known, ConnectionPool)
    return known


def crowded() -> ServerView:
    """A server with all the allocations that a status takes."""
    one = {"uid": "x", "connections": 1, "high": 1, "seq": 1}
    return view({"seq": 1, "allocations": [{"pool": f"web/{number}", **one} for number in range(POOLS)]})


@pytest.mark.parametrize(
    ("consent", "namespace", "labels", "allowed"),
    [
        ({"from": "Same"}, "platform", None, True),
        ({"from": "Same"}, "web", None, False),
        ({"from": "All"}, "web", None, True),
        (SELECTOR, "platform", None, True),
        (SELECTOR, "web", None, None),
        (SELECTOR, "web", {}, False),
        (SELECTOR, "web", {"db": "other"}, False),
        (SELECTOR, "web", {"db": "rds", "x": "y"}, True),
    ],
)
def test_consent(consent: dict[str, Any], namespace: str, labels: dict[str, str] | None, allowed: bool | None) -> None:
    assert consents(server(view(allowedNamespaces=consent)), namespace, labels) is allowed


@pytest.mark.parametrize(
    ("sentence", "at", "reason"),
    [
        ("no server", None, Reason.SERVER_NOT_FOUND),
        ("a server that cannot be read", found(view(host="a b")), Reason.SERVER_INVALID),
        ("no consent", found(view(), allowed=False), Reason.SERVER_NOT_SHARED),
        ("no word yet", found(view()), Reason.PENDING),
        ("an entry of a former pool of this name", found(view(entry(20, uid="former"))), Reason.PENDING),
        ("a budget that nobody knows", found(view(connections={})), Reason.LIMITS_UNKNOWN),
        ("no room in the status", found(crowded()), Reason.BUDGET_EXCEEDED),
    ],
)
def test_who_does_not_get_in_is_told_why(sentence: str, at: KnownServer | None, reason: Reason) -> None:
    spec, place = membership.resolve(pool(), member(), at)
    assert isinstance(spec, InvalidSpec)
    assert place.obstacle is not None
    assert place.obstacle.reason is reason, sentence
    assert NAME in place.obstacle.message
    assert str(spec) == f"spec.backend: {place.obstacle.message}"


@pytest.mark.parametrize(("allowed", "welcome"), [(True, True), (None, True), (False, False)])
def test_an_entry_lets_a_pool_in_and_the_end_of_consent_does_not_put_it_out(allowed: bool, welcome: bool) -> None:
    spec, place = membership.resolve(pool(), member(), found(view(entry(12)), allowed))
    assert isinstance(spec, ConnectionPool)
    assert place == Membership(NAME, Entry("web/shop", "pool-uid", 12, 12, 4), welcome=welcome)


@pytest.mark.parametrize(
    ("sentence", "own", "spec", "most"),
    [
        ("its own maximum", {"max": 5}, {}, 5),
        ("the share of its namespace", {}, {"shares": [{"namespace": "web", "max": 30}]}, 30),
        ("the default share", {}, {"defaultShare": {"max": 25}}, 25),
        ("all of the budget", {}, {}, 60),
        ("one, where there is nothing", {}, {"connections": {"max": 2, "headroomPercent": 90}}, 1),
    ],
)
def test_the_most_a_pool_may_ever_hold(sentence: str, own: dict[str, int], spec: dict[str, Any], most: int) -> None:
    assert membership.most(pool(member(serverConnections=own)), server(view(**spec))) == most, sentence


@pytest.mark.parametrize(
    ("host", "named", "here"),
    [
        ("postgres", "postgres.platform.svc", "postgres"),
        ("postgres.data", "postgres.data", "postgres.data"),
        ("main.example.com", "main.example.com", "main.example.com"),
        ("198.18.0.1", "198.18.0.1", "198.18.0.1"),
        ("2001:db8::1", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_a_pool_is_resolved_to_the_servers_host(host: str, named: str, here: str) -> None:
    made = server(view(host=host, port=5433))
    away = membership.effective(pool(), made).spec.backend
    assert (away.host, away.port, membership.host(made)) == (named, 5433, named)
    near = pool().model_copy(update={"metadata": pool().metadata.model_copy(update={"namespace": "platform"})})
    assert membership.effective(near, made).spec.backend.host == here


def test_a_pool_gets_the_servers_tls_and_its_ca_by_its_own_config_map() -> None:
    ca = {"configMapKeyRef": {"name": "rds-ca", "key": "ca.pem"}}
    tls = membership.effective(pool(), server(view(tls={"mode": "verify-ca", "ca": ca}))).spec.backend.tls
    assert tls is not None
    assert tls.ca is not None
    assert tls.ca.config_map_key_ref is not None
    assert tls.mode == "verify-ca"
    assert (tls.ca.config_map_key_ref.name, tls.ca.config_map_key_ref.key) == ("shop-pgbouncer", naming.CA_KEY)


def look(place: Membership | None, ledger: Grants | None = None) -> Observed:
    observed = looks.healthy()
    return replace(observed, membership=place, ledger=Ledger(ledger, 9) if ledger else None)


def of(connections: int, high: int, seq: int) -> Membership:
    return Membership(NAME, Entry("web/shop", "pool-uid", connections, high, seq))


def grants(cap: int, allocation: int, at: str = NAME) -> Grants:
    return Grants(9, 0, {"a": Grant(cap, 9, cap)}, {}, 0, at, allocation)


@pytest.mark.parametrize(
    ("sentence", "place", "ledger", "waits"),
    [
        ("no server", None, None, False),
        ("no word yet", Membership(NAME, obstacle=Missing(Reason.PENDING, "")), None, True),
        ("a refusal", Membership(NAME, obstacle=Missing(Reason.SERVER_NOT_SHARED, "")), None, False),
        ("a ledger made of this entry", of(9, 9, 4), grants(9, 4), False),
        ("old news of the server", of(9, 9, 4), grants(9, 5), True),
        ("a ledger of another server", of(9, 9, 4), grants(9, 5, "platform/other"), False),
        ("more at another server than is charged here", of(9, 9, 4), grants(10, 5, "platform/other"), True),
        ("as much at another server as is charged here", of(9, 10, 4), grants(10, 5, "platform/other"), False),
        ("a ledger of no server, and more", of(9, 9, 4), grants(10, 0, ""), False),
    ],
)
def test_a_look_that_knows_too_little_waits(
    sentence: str, place: Membership | None, ledger: Grants | None, waits: bool
) -> None:
    assert membership.waits(look(place, ledger)) is waits, sentence


OUTSIDE = Membership(NAME, obstacle=Missing(Reason.PENDING, "not yet"))


@pytest.mark.parametrize(
    ("sentence", "place", "ledger", "reason", "words"),
    [
        (
            "more than there is room for",
            of(9, 9, 4),
            grants(12, 5, "platform/other"),
            Reason.BUDGET_EXCEEDED,
            "hold 12",
        ),
        ("the same from a host of its own", OUTSIDE, grants(12, 0, ""), Reason.BUDGET_EXCEEDED, "hold 12 server"),
        ("others have yet to give back", OUTSIDE, None, Reason.PENDING, "has no allocation for this pool yet"),
    ],
)
def test_what_a_pool_waits_for_is_told_after_a_while(
    sentence: str, place: Membership, ledger: Grants | None, reason: Reason, words: str
) -> None:
    observed = replace(look(place, ledger), pods=(), states={})
    first = looks.decide(observed)
    assert (first.steps, first.requeue_after) == ((), membership.LOOK_AGAIN)
    later = replace(observed, memory=first.memory, now=observed.now + observed.intervals.admission)
    told = looks.conditions(later)
    kind = "Stalled" if reason is Reason.BUDGET_EXCEEDED else "Reconciling"
    assert (told[kind].status, told[kind].reason) == ("True", reason), sentence
    assert (told["Ready"].status, told["Ready"].reason) == ("False", reason)
    assert words in told["Ready"].message
    assert ("Stalled" in told) == (reason is Reason.BUDGET_EXCEEDED)
    assert not looks.writes(looks.decide(later)), "nothing but the status"


def test_late_news_of_the_server_are_no_news_for_the_user() -> None:
    observed = replace(look(of(9, 9, 4), grants(9, 5)), pods=(), states={})
    later = replace(observed, memory=looks.decide(observed).memory, now=observed.now + 2 * observed.intervals.admission)
    assert not looks.decide(later).steps


@pytest.mark.parametrize(
    ("place", "ledger", "again"),
    [
        (of(9, 9, 4), grants(9, 4), None),
        (of(9, 20, 4), None, None),
        (of(9, 20, 4), grants(20, 4), membership.MOVING),
        (of(9, 20, 4), grants(9, 4), None),
    ],
)
def test_who_keeps_others_waiting_is_looked_at_soon(place: Membership, ledger: Grants | None, again: float) -> None:
    assert membership.look_again(look(place, ledger)) == again


def test_a_pod_that_keeps_others_waiting_and_says_nothing_is_asked_less_often() -> None:
    owing = Grants(9, 0, {"a": Grant(9, 9, 20), "b": Grant(2, 9, 2)}, {}, 0, NAME, 4)
    observed = look(of(11, 22, 4), owing)
    assert membership.look_again(observed) == membership.MOVING
    assert membership.look_again(replace(observed, states={**observed.states, "a": None})) == membership.SILENT
    assert membership.look_again(replace(observed, states={**observed.states, "b": None})) == membership.MOVING


def test_who_goes_round_a_budget_is_told_what_to_write() -> None:
    made = pool(member())
    own = made.model_copy(update={"metadata": made.metadata.model_copy(update={"namespace": "platform"})})
    spec, place = membership.budgeted(view(), own)
    assert isinstance(spec, InvalidSpec)
    assert place.obstacle is not None
    assert place.obstacle.reason is Reason.SERVER_IS_BUDGETED
    assert "PostgresServer rds" in place.obstacle.message
    assert "backend.serverRef: {name: rds}" in place.obstacle.message


def test_a_server_of_another_namespace_is_not_named_to_who_goes_round_its_budget() -> None:
    _, place = membership.budgeted(view(), pool())
    assert place.obstacle is not None
    assert "rds" not in place.obstacle.message
    assert "platform" not in place.obstacle.message
    assert "backend.serverRef" in place.obstacle.message


def test_who_goes_round_a_budget_by_a_secret_is_told_what_to_write_instead() -> None:
    named = pool(member(backend={"secretRef": {"name": "shop-app"}}))
    _, place = membership.budgeted(view(), named)
    assert place.obstacle is not None
    assert place.obstacle.message.startswith("The host and port in the Secret are those of a PostgresServer")
    assert "replace backend.secretRef by backend.serverRef, and list databases and users" in place.obstacle.message


FITS, SHORT, NONE = Fit(2, 1, 1, 3, None), Fit(1, 0, 1, 1, "too few"), Fit(0, 0, 1, 0, "too few")


@pytest.mark.parametrize(
    ("sentence", "place", "fit", "granted", "reason"),
    [
        ("all fit", of(9, 9, 4), FITS, 9, Reason.FITS),
        ("fewer than wanted, by the server's budget", of(1, 1, 4), SHORT, 1, Reason.REPLICAS_CLAMPED),
        ("none, by the server's budget", of(0, 0, 4), NONE, 0, Reason.BUDGET_EXCEEDED),
        ("fewer than wanted, by the pool's own", of(20, 20, 4), SHORT, 20, Reason.REPLICAS_CLAMPED),
        ("another server with its host", replace(of(9, 9, 4), welcome=False, gives=False), FITS, 9, Reason.HOST_TAKEN),
        ("no consent any more", replace(of(9, 9, 4), welcome=False), FITS, 9, Reason.SERVER_NOT_SHARED),
    ],
)
def test_whether_pods_fit_into_what_the_server_gives(
    sentence: str, place: Membership, fit: Fit, granted: int, reason: Reason
) -> None:
    observed = look(place)
    size = PoolSize(20, Recommendation(value=20, reason="Fixed"), granted)
    wanted = replace(looks.wanted(), fit=fit)
    found = checks.within_budget(observed, Decided(wanted, capacity.decide(observed, wanted, granted), size))
    assert found.reason is reason, sentence
    connections = "1 connection," if granted == 1 else f"{granted} connections,"
    by_server = f"PostgresServer {NAME} gives this pool {connections}" in found.message
    assert by_server == (fit.shortage is not None and granted < 20)


def test_the_servers_ca_is_in_the_pools_config_map_and_stays_while_it_cannot_be_read() -> None:
    made = server(view(tls={"ca": {"configMapKeyRef": {"name": "rds-ca", "key": "ca.pem"}}}))
    observed = replace(look(replace(of(9, 9, 4), authority="PEM")), spec=membership.effective(pool(), made))
    assert membership.documents(observed) == {naming.CA_KEY: "PEM"}
    unread = replace(observed, membership=of(9, 9, 4))
    assert membership.documents(unread) == {}
    body = looks.wanted().config_map
    carries = {**body, "data": {**body["data"], naming.CA_KEY: "OLD"}}
    children = {("ConfigMap", naming.config_map("shop")): looks.live(carries)}
    assert membership.documents(replace(unread, children=children)) == {naming.CA_KEY: "OLD"}
