"""What a user is told: every row of the table of bad input that the operator answers, columns, events, figures."""

from dataclasses import replace

import pytest
from tests.unit.reconcile.looks import (
    condition,
    conditions,
    decide,
    healthy,
    invalid,
    respecified,
    saying,
    settled,
    told,
    wanted,
    writes,
)

from pgbouncer_operator.api.conditions import ConditionType, Reason
from pgbouncer_operator.reconcile.memory import Memory, Missing, Refusal, SecretsRead
from pgbouncer_operator.reconcile.observed import Membership
from pgbouncer_operator.reconcile.status import checks
from pgbouncer_operator.sizing.allocation import Entry

READY, STALLED = ConditionType.READY, ConditionType.STALLED


def test_the_status_says_the_limit_of_clients_that_is_in_force() -> None:
    observed = saying(healthy(clients={"maxPerPod": 2000}), "a", clientsMax=950)
    assert told(decide(observed))["clients"]["maxPerPod"] == 950


def test_a_healthy_pool_is_ready_and_the_columns_are_filled() -> None:
    observed = healthy()
    status = told(decide(observed))
    assert condition(observed, READY) == ("True", "Ready", "2 of 2 pods serve; a login to PostgreSQL works.")
    assert status["summary"] == {"pods": "2/2", "connections": "8/20"}
    assert status["clients"] == {"connected": 200, "maxPerPod": 2000}
    assert status["serverConnections"] == {"max": 20, "size": 20, "allocated": 20, "open": 8, "busy": 6, "waiting": 0}
    assert (status["endpoint"], status["image"]) == ("shop.web.svc:6432", "pool:1")
    assert status["selector"] == "pgbouncer-operator.io/pool=shop"
    assert "Stalled" not in conditions(observed)
    assert "Reconciling" not in conditions(observed)


def test_a_pool_of_one_pod_counts_properly() -> None:
    alone = replace(healthy(), pods=healthy().pods[:1])
    assert checks.ready(alone).message == "1 of 1 pods serve; a login to PostgreSQL works."
    entry = Entry("web/shop", "pool-uid", 1, 1, 1)
    tight = replace(healthy(databases=[{"name": "a"}, {"name": "b"}]), membership=Membership("platform/rds", entry))
    message = condition(tight, ConditionType.WITHIN_BUDGET)[2]
    assert "gives this pool 1 connection, and each pod needs at least 2." in message


def test_messages_in_new_words_are_one_write_by_a_new_operator_and_no_event() -> None:
    observed = settled(healthy())
    old = tuple(each.model_copy(update={"message": "in other words"}) for each in observed.status.conditions or ())
    status = observed.status.model_copy(update={"conditions": old})
    found = decide(replace(observed, status=status, memory=Memory()))
    assert [str(step) for step in found.steps] == ["apply ConnectionPool/shop/status"]
    assert not found.announcements
    assert decide(replace(observed, memory=found.memory, now=observed.now + 60)).steps == ()


def test_a_missing_secret_is_told_as_it_was_read() -> None:
    observed = healthy()
    missing = Missing(Reason.SECRET_KEY_MISSING, "Secret shop-db has no key password; found: uri, username.")
    observed = observed.remember(reading=SecretsRead(990.0, "", missing, {}))
    expected = ("False", "SecretKeyMissing", missing.message)
    assert condition(observed, ConditionType.CREDENTIALS_AVAILABLE) == expected
    assert condition(observed, READY) == expected


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("BackendRefusedLogin", "BackendRefusedLogin"),
        ("HostNotResolved", "HostNotResolved"),
        ("BackendWithoutTls", "BackendWithoutTls"),
        ("BackendCertificateInvalid", "BackendNotVerified"),
        ("BackendReadOnly", "BackendIsReadOnly"),
        ("AWordOfANewerAgent", "BackendUnreachable"),
    ],
)
def test_a_backend_that_fails_is_told_in_postgresqls_own_words(word: str, reason: str) -> None:
    words = 'FATAL:  password authentication failed for user "shop"'
    observed = saying(healthy(), "b", backend={"ok": False, "reason": word, "message": words})
    expected = ("False", reason, f"Pod shop-b: {words}")
    assert condition(observed, ConditionType.BACKEND_REACHABLE) == expected
    assert condition(observed, READY) == expected
    assert not writes(decide(observed)), "a backend's outage changes nothing about the pods"


def test_pods_that_do_not_all_fit_are_clamped_and_told() -> None:
    observed = healthy(serverConnections={"max": 8}, databases=[{"name": "a"}, {"name": "b"}], replicas=6)
    status, reason, message = condition(observed, ConditionType.WITHIN_BUDGET)
    assert (status, reason) == ("False", "ReplicasClamped")
    assert message.startswith("6 wanted, 4 fit: serverConnections.max is 8")
    assert "Stalled" not in conditions(observed)


def test_a_budget_below_the_floor_stalls() -> None:
    observed = healthy(serverConnections={"max": 1}, databases=[{"name": "a"}, {"name": "b"}])
    status, reason, message = condition(observed, STALLED)
    assert (status, reason) == ("True", "BudgetTooSmall")
    assert message.startswith("2 wanted, 0 fit:")


def test_a_budget_below_the_floor_leaves_what_runs_as_it_is() -> None:
    databases = [{"name": "shop"}, {"name": "other"}]
    observed = respecified(settled(healthy()), serverConnections={"max": 1}, databases=databases)
    assert not writes(decide(observed))
    assert condition(observed, STALLED)[:2] == ("True", "BudgetTooSmall")
    fixed = respecified(observed, serverConnections={"max": 20}, databases=databases)
    assert writes(decide(fixed)), "it heals by itself"


def test_an_object_in_the_way_stalls_and_is_named() -> None:
    observed = healthy()
    children = {key: each for key, each in observed.children.items() if key[0] != "Service"}
    refusal = Refusal(Reason.NAME_CONFLICT, "a Service of this name exists.", 999.0)
    observed = replace(observed, children=children).remember(refusals={("Service", "shop"): refusal})
    assert condition(observed, STALLED) == ("True", "NameConflict", "Service shop: a Service of this name exists.")
    assert condition(observed, READY)[:2] == ("False", "NameConflict")


def test_names_of_connection_secrets_that_no_status_has_yet_outlive_a_faulty_spec() -> None:
    observed = healthy().remember(connection_secrets=("shop-connection",))
    assert decide(invalid(observed, parameters={"no_such_thing": 1})).memory.connection_secrets == ("shop-connection",)


def test_an_invalid_spec_stalls_keeps_the_facts_and_writes_nothing_else() -> None:
    observed = settled(healthy())
    wrong = invalid(observed, parameters={"no_such_thing": 1})
    found = decide(wrong)
    status, reason, message = condition(wrong, STALLED)
    assert (status, reason) == ("True", "InvalidSpec")
    assert "no_such_thing" in message
    assert message.startswith("spec.")
    assert told(found)["summary"] == {"pods": "2/2", "connections": "8/20"}
    assert not writes(found)


def test_a_configuration_that_pgbouncer_refuses_stalls_in_its_words() -> None:
    problem = {"reason": "CandidateRefused", "message": "PgBouncer refuses the configuration: syntax error"}
    observed = saying(healthy(), "b", digest="an-older-one", problems=[problem])
    told_by = f"Pod shop-b: {problem['message']}. The previous configuration stays in use."
    assert condition(observed, ConditionType.CONFIGURATION_APPLIED) == ("False", "ConfigurationRefused", told_by)
    assert condition(observed, STALLED) == ("True", "ConfigurationRefused", told_by)


def test_a_ready_pod_that_does_not_answer_makes_the_answer_unknown() -> None:
    observed = healthy()
    observed = replace(observed, states={**observed.states, "b": None})
    status, reason, message = condition(observed, ConditionType.CONFIGURATION_APPLIED)
    assert (status, reason) == ("Unknown", "PodsUnreachable")
    assert "No answer from shop-b: let the operator reach port 9127 of the pods." in message
    assert condition(observed, READY)[:2] == ("Unknown", "PodsUnreachable")


def test_a_pgbouncer_that_hangs_is_named_with_its_time_and_nobody_is_sent_to_the_network() -> None:
    observed = healthy()
    hung = replace(observed, states={**observed.states, "b": None}, hanging={"b": 10})
    words = "PgBouncer of shop-b has not answered for more than 10 s."
    for kind in (ConditionType.CONFIGURATION_APPLIED, READY):
        status, reason, message = condition(hung, kind)
        assert (status, reason) == ("Unknown", "PgBouncerNotAnswering")
        assert message.endswith(words)
        assert "port" not in message
    pods = (hung.pods[0], replace(hung.pods[1], ready=False))
    expected = f"1 of 2 pods are ready. {words}"
    assert condition(replace(hung, pods=pods), READY) == ("False", "PgBouncerNotAnswering", expected)


def test_a_pod_that_does_not_start_is_told_in_kubernetes_words() -> None:
    observed = healthy()
    pods = (observed.pods[0], replace(observed.pods[1], ready=False, trouble="Unschedulable: 0/1 nodes are available"))
    expected = "1 of 2 pods are ready. shop-b: Unschedulable: 0/1 nodes are available"
    assert condition(replace(observed, pods=pods), READY) == ("False", "WaitingForPods", expected)


def test_no_replicas_wanted_is_well() -> None:
    observed = replace(healthy(replicas=0), pods=(), states={})
    assert condition(observed, READY) == (
        "True",
        "ScaledToZero",
        "replicas is 0: no pod is wanted. Raise it to serve clients.",
    )


def test_events_tell_transitions_and_nothing_twice() -> None:
    observed = healthy()
    first = decide(observed)
    assert not any(each.warning for each in first.announcements)
    assert {each.reason for each in first.announcements} == {"Ready"}, "what is well from the start is no news"
    assert not decide(settled(observed)).announcements
    broken = saying(
        settled(observed), "a", backend={"ok": False, "reason": "HostNotResolved", "message": "no such host"}
    )
    turned = decide(broken).announcements
    assert {each.reason for each in turned} == {"HostNotResolved"}
    assert all(each.warning for each in turned)


def test_figures_are_written_at_most_every_30_seconds_and_only_when_they_differ() -> None:
    observed = settled(healthy())
    assert not decide(replace(observed, now=5000.0)).steps, "nothing differs"
    busier = saying(observed, "a", clients=150, open=9)
    assert not decide(replace(busier, now=1029.9)).steps
    found = decide(replace(busier, now=1030.0))
    assert [str(step) for step in found.steps] == ["apply ConnectionPool/shop/status"]
    assert told(found)["clients"]["connected"] == 250


def test_a_condition_that_turns_is_written_at_once() -> None:
    observed = settled(healthy())
    broken = saying(observed, "a", backend={"ok": False, "reason": "HostNotResolved", "message": "no such host"})
    assert told(decide(broken))["conditions"]


def test_a_reload_is_told_with_its_fields_and_how_long_it_took() -> None:
    observed = settled(healthy())
    changed = respecified(observed, poolMode="session", timeouts={"queryWaitSeconds": 9})
    begun = decide(changed)
    assert "lastChange" not in told(begun)
    digest = wanted(poolMode="session", timeouts={"queryWaitSeconds": 9}).intent.digest
    after = healthy(poolMode="session", timeouts={"queryWaitSeconds": 9})
    done = replace(after, status=observed.status, memory=begun.memory, now=1002.4)
    change = told(decide(done))["lastChange"]
    assert change == {
        "what": "pool_mode, query_wait_timeout", "how": "Reload", "seconds": 2, "pods": 2, "at": observed.today,
    }  # fmt: skip
    assert digest == told(decide(done))["configuration"]["hash"]


def test_a_roll_is_told_as_one() -> None:
    observed = settled(healthy())
    begun = decide(respecified(observed, drain={"timeoutSeconds": 9}))
    after = replace(healthy(drain={"timeoutSeconds": 9}), status=observed.status, memory=begun.memory, now=1060.0)
    assert told(decide(after))["lastChange"]["how"] == "Roll"
    assert told(decide(after))["lastChange"]["seconds"] == 60


def test_a_finished_look_rests_and_one_with_a_refused_write_does_not() -> None:
    observed = settled(healthy())
    assert decide(observed).at_rest
    children = {key: each for key, each in observed.children.items() if key[0] != "Service"}
    refusal = Refusal(Reason.NAME_CONFLICT, "it exists", 999.0)
    stuck = settled(replace(observed, children=children).remember(refusals={("Service", "shop"): refusal}))
    assert not decide(stuck).at_rest
