"""When the Secret of the server is read, and what becomes of the pool by it."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.reconcile.looks import SPEC, condition, decide, healthy, invalid, pool, told

from pgbouncer_operator.api.conditions import ConditionType, Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool, InvalidSpec
from pgbouncer_operator.reconcile.cache import projections
from pgbouncer_operator.reconcile.memory import Missing, ServerRead
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.pool import backend_secret
from pgbouncer_operator.reconcile.specification import read
from pgbouncer_operator.reconcile.status.timing import LACKING
from pgbouncer_operator.resources.backend_secret import ServerFromSecret

GONE = Missing(Reason.SECRET_NOT_FOUND, "Secret db does not exist.")
BACKEND: dict[str, Any] = {"secretRef": {"name": "db"}}


def named(**spec: Any) -> ConnectionPool:
    return read(pool(**{"backend": BACKEND, **spec}))


def server(uri: str = "postgres://app:x@postgres/shop", **spec: Any) -> ServerFromSecret:
    data = {"uri": base64.b64encode(uri.encode()).decode()}
    found = backend_secret.answer(named(**spec), {"data": data})
    assert isinstance(found, ServerFromSecret)
    return found


def known(found: ServerFromSecret | None = None, missing: Missing | None = None) -> ServerRead:
    return ServerRead(900.0, backend_secret.asked(named()), "", found, missing)


@pytest.mark.parametrize(
    ("before", "spec", "refresh", "oldest", "due"),
    [
        (None, {}, "", 800.0, True),
        (known(server()), {}, "", 800.0, False),
        (known(server(), GONE), {}, "", 800.0, True),
        (known(server()), {"backend": {"secretRef": {"name": "other"}}}, "", 800.0, True),
        (known(server()), {"backend": {"secretRef": {"name": "db", "urlKey": "uri"}}}, "", 800.0, True),
        (known(server()), {"users": None}, "", 800.0, True),
        (known(server()), {"databases": [{"name": "another"}]}, "", 800.0, False),
        (known(server()), {}, "now", 800.0, True),
        (known(server()), {}, "", 901.0, True),
    ],
)
def test_the_secret_is_read_at_first_after_a_change_of_the_spec_and_in_trouble(
    before: ServerRead | None, spec: dict[str, Any], refresh: str, oldest: float, due: bool
) -> None:
    assert backend_secret.due(before, named(**spec), refresh, oldest) is due


def test_a_secret_that_is_gone_leaves_the_server_that_it_named() -> None:
    kept = backend_secret.remembered(known(server()), known(missing=GONE))
    assert (kept.found, kept.missing) == (server(), GONE)


def test_another_secret_leaves_nothing_of_the_one_before() -> None:
    other = replace(known(missing=GONE), asked="another")
    assert backend_secret.remembered(known(server()), other) == other


def test_the_pool_is_resolved_with_its_address_and_its_service() -> None:
    view = projections.pool(pool(backend=BACKEND))
    spec, found = backend_secret.resolved(named(), view, known(server("postgres://app:x@rw.db:6000/shop")))
    assert isinstance(spec, ConnectionPool)
    assert (spec.spec.backend.host, spec.spec.backend.port) == ("rw.db", 6000)
    assert (found.address, found.backend) == ("db/rw:6000", ("db", "rw"))


@pytest.mark.parametrize("before", [None, known(missing=GONE)])
def test_without_a_server_the_spec_cannot_be_used(before: ServerRead | None) -> None:
    view = projections.pool(pool(backend=BACKEND))
    spec, same = backend_secret.resolved(named(), view, before)
    assert isinstance(spec, InvalidSpec)
    assert same == view


def test_a_pool_that_names_no_secret_is_as_it_was() -> None:
    view, spec = projections.pool(pool()), read(pool())
    assert backend_secret.resolved(spec, view, None) == (spec, view)


def test_a_secret_that_may_not_be_read_is_unknown_and_names_who_can_help() -> None:
    found = backend_secret.forbidden(named())
    assert found.reason is Reason.SECRET_NOT_READABLE
    assert "Secret db" in found.message
    assert "connectionSecrets.enabled" in found.message


def serving(found: ServerFromSecret, missing: Missing | None = None) -> Observed:
    return healthy().remember(server=known(found, missing))


def test_a_pool_whose_secret_is_gone_serves_on_says_so_and_looks_again_soon() -> None:
    observed = serving(server(), GONE)
    assert condition(observed, ConditionType.CREDENTIALS_AVAILABLE) == ("False", "SecretNotFound", GONE.message)
    assert condition(observed, ConditionType.READY) == ("False", "SecretNotFound", GONE.message)
    assert condition(observed, ConditionType.CONFIGURATION_APPLIED)[0] == "True"
    assert decide(observed).requeue_after == LACKING


def test_a_pool_that_never_had_its_secret_is_stalled_by_it() -> None:
    observed = invalid(healthy(), **SPEC | {"databases": []}).remember(server=known(missing=GONE))
    assert condition(observed, ConditionType.STALLED) == ("True", "SecretNotFound", GONE.message)
    assert decide(observed).requeue_after == LACKING


def test_the_status_names_the_server_and_nothing_else_of_the_secret() -> None:
    assert told(decide(serving(server())))["backend"] == {"host": "postgres", "port": 5432}
    assert "backend" not in told(decide(healthy()))


def test_another_server_in_the_secret_is_another_look() -> None:
    one, other = serving(server()), serving(server("postgres://app:x@other/shop"))
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint == serving(server()).fingerprint


def test_parameters_without_effect_are_named_and_the_pool_is_ready() -> None:
    observed = serving(server("postgres://app:x@postgres/shop?channel_binding=require"))
    message = "A login to PostgreSQL works. Without effect in the URL of the Secret: channel_binding."
    assert condition(observed, ConditionType.BACKEND_REACHABLE) == ("True", "Reachable", message)
    assert condition(observed, ConditionType.READY)[0] == "True"


def test_the_url_of_a_pooler_is_a_warning_and_the_pool_is_ready() -> None:
    observed = serving(server("postgres://app:x@postgres/shop?pgbouncer=true"))
    status, reason, message = condition(observed, ConditionType.BACKEND_REACHABLE)
    assert (status, reason) == ("True", "BackendIsPooler")
    assert "pgbouncer=true looks like another pooler" in message
    assert "Set host and port in the Secret of backend.secretRef to the server itself." in message
    assert condition(observed, ConditionType.READY)[0] == "True"


def test_a_pooler_that_the_spec_names_is_to_be_replaced_there() -> None:
    found = server(backend={"host": "acid-pooler", **BACKEND})
    observed = healthy(backend={"host": "acid-pooler", **BACKEND}).remember(server=known(found))
    message = condition(observed, ConditionType.BACKEND_REACHABLE)[2]
    assert "host acid-pooler looks like another pooler" in message
    assert "Set backend.host and backend.port to the server itself." in message
