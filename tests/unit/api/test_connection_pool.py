"""Reading a ConnectionPool: what is accepted, what is refused and in which words, and what the values mean."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract import shapes
from tests.contract.pools import BAD, CA, GOOD, Bad, Object, backend, database, parameters, pool, put, user

from pgbouncer_operator.api.access import PoolMode
from pgbouncer_operator.api.backend import TlsMode
from pgbouncer_operator.api.connection_pool import FieldProblem, InvalidSpec, parse
from pgbouncer_operator.api.parameters import problems
from pgbouncer_operator.pgbouncer.parameters import CATALOGUE


def judge(body: Object) -> list[FieldProblem]:
    try:
        parsed = parse(body)
    except InvalidSpec as refusal:
        return list(refusal.problems)
    return list(problems(parsed.spec.parameters or {}, CATALOGUE))


@pytest.mark.parametrize(("sentence", "body"), [*GOOD, *shapes.GOOD])
def test_a_good_pool_is_accepted(sentence: str, body: Object) -> None:
    assert judge(body) == [], sentence


@pytest.mark.parametrize("bad", [*BAD, *shapes.BAD, *shapes.UNSEEN], ids=lambda bad: bad.sentence)
def test_a_bad_pool_is_refused_with_the_field_and_the_remedy(bad: Bad) -> None:
    assert judge(bad.body) == [FieldProblem(bad.field, bad.message)]


def test_the_first_example_gets_its_defaults() -> None:
    spec = parse(pool()).spec
    assert spec.backend.port == 5432
    assert spec.pool_mode is PoolMode.TRANSACTION
    assert spec.replicas == 2
    assert spec.clients.max_per_pod == 2000
    assert (spec.drain.timeout_seconds, spec.drain.transaction_seconds) == (120, 60)
    assert spec.timeouts.query_wait_seconds == 30
    assert spec.service.port == 6432
    assert spec.users[0].password_key == "password"
    assert spec.users[0].username_key is None
    assert spec.pod.resources.requests == {"cpu": "100m", "memory": "128Mi"}
    assert spec.connection_secrets is None


@pytest.mark.parametrize(
    ("tls", "mode"),
    [
        (None, TlsMode.REQUIRE),
        ({}, TlsMode.REQUIRE),
        ({"ca": CA}, TlsMode.VERIFY_FULL),
        ({"ca": CA, "mode": "verify-ca"}, TlsMode.VERIFY_CA),
        ({"mode": "disable"}, TlsMode.DISABLE),
    ],
)
def test_tls_verifies_fully_as_soon_as_there_is_a_ca(tls: Object | None, mode: TlsMode) -> None:
    assert parse(pool(backend(tls=tls))).spec.backend.tls_mode is mode


def test_a_database_has_its_own_name_on_the_server_unless_told_otherwise() -> None:
    assert parse(pool()).spec.databases[0].dbname == "shop"
    assert parse(pool(database(backendName="shop_v2"))).spec.databases[0].dbname == "shop_v2"


def test_given_resources_replace_the_default_whole() -> None:
    resources = parse(pool(put(pod={"resources": {"limits": {"cpu": "2"}}}))).spec.pod.resources
    assert resources.requests is None
    assert resources.limits == {"cpu": "2"}


def test_no_list_of_connection_secrets_differs_from_an_empty_one() -> None:
    assert parse(pool()).spec.connection_secrets is None
    assert parse(pool(put(connectionSecrets=[]))).spec.connection_secrets == ()


def test_metadata_is_read_as_far_as_needed() -> None:
    body = pool()
    body["metadata"].update(uid="u1", generation=3, resourceVersion="7", labels={"a": "b"}, managedFields=[{}])
    metadata = parse(body).metadata
    assert (metadata.name, metadata.namespace, metadata.uid, metadata.generation) == ("shop-pool", "default", "u1", 3)
    assert metadata.resource_version == "7"
    assert metadata.deletion_timestamp is None


def test_status_of_any_shape_does_not_disturb_reading_the_spec() -> None:
    assert parse({**pool(), "status": {"conditions": "not even a list"}}).spec == parse(pool()).spec


def test_every_fault_is_reported_at_once() -> None:
    faults = judge(pool(lambda spec: (backend(host="a b", port=0)(spec), user(name="X")(spec))))
    assert [fault.field for fault in faults] == ["spec.backend.host", "spec.backend.port", "spec.users[0].name"]


def test_two_faulty_settings_of_different_kinds_are_both_reported() -> None:
    messages = [fault.message for fault in judge(pool(parameters(auth_type="trust", pkt_buf=1)))]
    assert [message.split()[0] for message in messages] == ["auth_type", "pkt_buf"]


@pytest.mark.parametrize(
    "body",
    [
        pool(put(users="hunter2-secret")),
        pool(user(secretRef="hunter2-secret")),
        pool(user(name="hunter2-secret!")),
        pool(user(passwordKey="hunter2-secret\n")),
        pool(backend(host="hunter2-secret@postgres")),
        pool(backend(tls="hunter2-secret")),
        pool(parameters(auth_type="hunter2-secret")),
        pool(parameters(pkt_buf="hunter2-secret")),
        pool(parameters(server_reset_query="hunter2-secret\n")),
        pool(put(pod={"annotations": {"a": "hunter2-secret\n"}})),
        {"metadata": "hunter2-secret", "spec": "hunter2-secret"},
    ],
)
def test_a_password_in_a_wrong_place_never_reaches_the_message(body: Object) -> None:
    faults = judge(body)
    assert faults
    assert not any("hunter2" in str(fault) for fault in faults)
    if not isinstance(body["spec"], dict) or "parameters" not in body["spec"]:
        with pytest.raises(InvalidSpec) as refusal:
            parse(body)
        assert "hunter2" not in str(refusal.value)
        assert refusal.value.__cause__ is None
        assert refusal.value.__context__ is None


@pytest.mark.parametrize("body", [{}, {"metadata": {"name": "a"}}, {"metadata": {"name": "a"}, "spec": None}])
def test_half_an_object_is_refused_like_any_other_fault(body: Object) -> None:
    with pytest.raises(InvalidSpec):
        parse(body)


def test_a_key_that_kubernetes_would_refuse_is_named() -> None:
    (fault,) = judge(pool(put(pod={"labels": {"two words": "x"}})))
    assert fault.field == "spec.pod.labels.two words"
    assert fault.message.startswith("is not a valid key: use letters")


def test_writing_a_parsed_spec_gives_what_was_read() -> None:
    spec = parse(GOOD[-2][1]).spec
    again = parse({"metadata": {"name": "a"}, "spec": spec.wire()}).spec
    assert again == spec
    assert "users" in spec.wire()
    assert "connectionSecrets" not in spec.wire()


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the strings are, by path."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from leaves(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from leaves(child, (*path, index))
    elif isinstance(value, str):
        yield path


EVERYWHERE = {
    path: body
    for _, body in (*GOOD, *shapes.GOOD)
    for path in leaves(body["spec"], ("spec",))
    if "sizing" not in path  # a field of a later version is not read at all
}


@pytest.mark.parametrize("path", EVERYWHERE, ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("bad", ["\n", "\r", "\t", "\x00", "\x1b", "\x7f", "\x85"], ids=ascii)
def test_a_control_character_is_refused_wherever_a_string_stands(path: tuple[str | int, ...], bad: str) -> None:
    body = copy.deepcopy(EVERYWHERE[path])
    node: Any = body
    for part in path[:-1]:
        node = node[part]
    for text in (f"{node[path[-1]]}{bad}", f"{bad}{node[path[-1]]}"):
        node[path[-1]] = text
        with pytest.raises(InvalidSpec):
            parse(body)
