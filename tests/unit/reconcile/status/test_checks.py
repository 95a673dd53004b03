"""Single questions about a look at a pool."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.reconcile.looks import condition, healthy, pool, saying

from pgbouncer_operator.api.conditions import ConditionType
from pgbouncer_operator.reconcile.cache.pod_status import REFUSAL_MAX
from pgbouncer_operator.reconcile.observed import Observed
from pgbouncer_operator.reconcile.specification import read
from pgbouncer_operator.reconcile.status.backend import pooler
from pgbouncer_operator.reconcile.status.certificates import ends_soon

OLD = {"pgbouncer": "1.25.2", "digest": "before"}


@pytest.mark.parametrize(
    ("backend", "sign"),
    [
        ({"host": "ep-cool-sun-123-pooler.eu-central-1.aws.neon.tech"}, "host"),
        ({"host": "aws-0-eu-central-1.pooler.supabase.com"}, "host"),
        ({"host": "shop-pooler-rw"}, "host"),
        ({"host": "pgbouncer.db.svc"}, "host"),
        ({"host": "PgBouncer"}, "host"),
        ({"host": "other-pool.shop.svc", "port": 6432}, "port"),
        ({"host": "db.example.com", "port": 6543}, "port"),
    ],
)
def test_another_pooler_is_known_by_its_name_or_its_port(backend: dict[str, Any], sign: str) -> None:
    assert pooler(read(pool(backend=backend))) == f"{sign} {backend[sign]}"


@pytest.mark.parametrize(
    "backend",
    [
        {"host": "postgres"},
        {"host": "ep-cool-sun-123.eu-central-1.aws.neon.tech"},
        {"host": "db.abcdefgh.supabase.co"},
        {"host": "whirlpooler.example.com", "port": 5433},
        {"host": "2001:db8::6432"},
    ],
)
def test_a_server_is_not_taken_for_a_pooler(backend: dict[str, Any]) -> None:
    assert pooler(read(pool(backend=backend))) == ""


def test_a_backend_that_is_a_pooler_is_a_warning_and_the_pool_is_ready_all_the_same() -> None:
    observed = healthy(backend={"host": "my-pooler"})
    told = (
        "A login to PostgreSQL works, but host my-pooler looks like another pooler: the direct URL would not be "
        "direct. Set backend.host and backend.port to the server itself."
    )
    assert condition(observed, ConditionType.BACKEND_REACHABLE) == ("True", "BackendIsPooler", told)
    assert condition(observed, ConditionType.READY)[0] == "True"


REFUSAL = 'pods "shop-pgbouncer-7c-x" is forbidden: failed quota: team: must specify limits.cpu for: agent'
MENDING = "Correct the field of spec.pod that this is about, or the quota or policy named here."


def refusing(observed: Observed, **standing: Any) -> Observed:
    """The same with a Deployment that may make no more pods."""
    key = ("Deployment", "shop-pgbouncer")
    child = observed.children[key]
    assert child.rollout is not None
    rollout = replace(child.rollout, refusal=REFUSAL, **standing)
    return replace(observed, children={**observed.children, key: replace(child, rollout=rollout)})


def test_pods_that_may_not_be_made_give_ready_the_words_of_whoever_refuses_them() -> None:
    observed = refusing(replace(healthy(), pods=(), states={}))
    expected = f"0 of 2 pods are ready. Kubernetes refuses more pods: {REFUSAL} {MENDING}"
    assert condition(observed, ConditionType.READY) == ("False", "PodsRefused", expected)
    assert condition(observed, ConditionType.RECONCILING) == ("True", "PodsRefused", expected)


def test_a_roll_whose_new_pods_may_not_be_made_names_who_refuses_them_and_the_old_ones_serve() -> None:
    observed = refusing(healthy(), existing=2, updated=0)
    status, reason, message = condition(observed, ConditionType.READY)
    assert (status, reason) == ("False", "PodsRefused")
    assert message.startswith("0 of 2 pods have the new pod template;")
    assert REFUSAL in message
    assert condition(observed, ConditionType.BACKEND_REACHABLE)[0] == "True"


def test_a_refusal_of_the_past_is_no_news_of_a_pool_that_has_its_pods() -> None:
    assert condition(refusing(healthy()), ConditionType.READY)[:2] == ("True", "Ready")


def test_the_longest_refusal_leaves_room_for_the_remedy() -> None:
    observed = refusing(replace(healthy(), pods=(), states={}))
    key = ("Deployment", "shop-pgbouncer")
    child = observed.children[key]
    assert child.rollout is not None
    rollout = replace(child.rollout, refusal="x" * REFUSAL_MAX)
    observed = replace(observed, children={**observed.children, key: replace(child, rollout=rollout)})
    assert condition(observed, ConditionType.READY)[2].endswith(MENDING)


def test_a_pod_that_is_older_than_a_user_of_the_spec_does_not_say_that_its_secret_is_missing() -> None:
    lacking = {"ok": False, "message": "The Secret of user more does not exist.", "generation": ""}
    observed = saying(healthy(), "a", users={"more": lacking})
    assert condition(observed, ConditionType.CREDENTIALS_AVAILABLE)[0] == "True"
    observed = saying(healthy(), "a", users={"more": {**lacking, "generation": "..3"}})
    assert condition(observed, ConditionType.CREDENTIALS_AVAILABLE)[1] == "SecretKeyMissing"


TODAY = 1_767_225_600  # of the look: 2026-01-01
DAY = 86_400


def validity(ends: int, begins: int = -60) -> dict[str, dict[str, int]]:
    """What an agent says of its certificates, in days from the look."""
    return {"tls": {"begins": TODAY + begins * DAY, "ends": TODAY + ends * DAY}}


def test_a_certificate_that_has_ended_is_a_fault_that_names_it_and_its_end() -> None:
    observed = saying(healthy(clients={"tls": {"secretName": "cert"}}), "b", validities=validity(-1))
    told = "The certificate for clients, in Secret cert, ended at 2025-12-31 00:00 UTC (pod shop-b). Renew it."
    assert condition(observed, ConditionType.CREDENTIALS_AVAILABLE) == ("False", "CertificateExpired", told)
    assert condition(observed, ConditionType.READY) == ("False", "CertificateExpired", told)


def test_an_expired_ca_is_named_by_the_field_that_names_it() -> None:
    ended = {"ca": validity(0)["tls"]}
    observed = saying(healthy(), "a", validities=ended)
    assert condition(observed, ConditionType.READY)[2].startswith(
        "The CA that backend.tls.ca names ended at 2026-01-01"
    )


def test_an_expired_certificate_that_an_agent_does_not_use_is_told_in_the_agents_words() -> None:
    problem = {"reason": "CertificateExpired", "message": "the certificate ended and is not used: renew it"}
    observed = saying(healthy(), "a", problems=[problem], validities=validity(20))
    told = "Pod shop-a: the certificate ended and is not used: renew it."
    assert condition(observed, ConditionType.READY) == ("False", "CertificateExpired", told)
    assert condition(observed, ConditionType.CONFIGURATION_APPLIED)[0] == "True"


def test_a_valid_certificate_and_one_of_unknown_end_are_no_fault() -> None:
    assert condition(saying(healthy(), "a", validities=validity(1)), ConditionType.READY)[0] == "True"
    assert condition(saying(healthy(), "a", validities={}), ConditionType.READY)[0] == "True"


@pytest.mark.parametrize(
    ("ends", "begins", "advised"),
    [(13, -60, True), (15, -60, False), (13, -30, False), (1, -60, True), (0, -60, False)],
    ids=["two weeks", "longer", "most of a short life", "the last day", "over"],
)
def test_the_end_of_a_certificate_is_advice_in_its_last_two_weeks_and_last_fifth(
    ends: int, begins: int, advised: bool
) -> None:
    observed = saying(healthy(clients={"tls": {"secretName": "cert"}}), "a", validities=validity(ends, begins))
    message = f"The certificate for clients, in Secret cert, ends at 2026-01-{1 + ends:02} 00:00 UTC. Renew it before."
    assert ends_soon(observed) == (message if advised else "")


def test_a_parameter_that_a_pods_pgbouncer_is_too_old_for_stalls_and_names_both_versions() -> None:
    observed = saying(healthy(parameters={"login_notify_message": "hello"}), "a", **OLD)
    told = (
        "Pod shop-a: login_notify_message needs PgBouncer 1.26 and this pool runs 1.25.2: remove it or use a newer "
        "image. The previous configuration stays in use."
    )
    assert condition(observed, ConditionType.CONFIGURATION_APPLIED) == ("False", "ParameterUnsupported", told)
    assert condition(observed, ConditionType.STALLED) == ("True", "ParameterUnsupported", told)


@pytest.mark.parametrize("said", [{**OLD, "pgbouncer": "1.26.1"}, {**OLD, "pgbouncer": None}], ids=["new", "unknown"])
def test_a_parameter_is_not_blamed_on_a_pgbouncer_that_has_it_or_has_not_said_its_version(said: dict[str, Any]) -> None:
    observed = saying(healthy(parameters={"login_notify_message": "hello"}), "a", **said)
    assert condition(observed, ConditionType.CONFIGURATION_APPLIED)[1] == "ApplyingConfiguration"


def test_a_pod_that_accepts_fewer_clients_than_wanted_is_named_beside_the_applied_configuration() -> None:
    """The pool serves, so nothing is False; the figure and the remedy stand where the configuration is confirmed."""
    problem = {"reason": "ClientsLimited", "message": "a pod accepts 950 clients, not 2000: raise the hard limit"}
    observed = saying(healthy(), "a", problems=[problem])
    status, reason, message = condition(observed, ConditionType.CONFIGURATION_APPLIED)
    assert (status, reason) == ("True", "Applied")
    assert message.endswith(" Fewer clients: a pod accepts 950 clients, not 2000: raise the hard limit.")


def test_a_limit_of_clients_does_not_hide_why_a_pod_does_not_follow() -> None:
    limited = {"reason": "ClientsLimited", "message": "a pod accepts 950 clients"}
    cause = {"reason": "ReloadFailed", "message": "PgBouncer did not reload"}
    observed = saying(healthy(), "a", digest="before", problems=[limited, cause])
    message = condition(observed, ConditionType.CONFIGURATION_APPLIED)[2]
    assert message.endswith(" PgBouncer did not reload")


def test_a_pod_of_another_controller_is_named_with_the_label_to_remove() -> None:
    """The operator never asks it, so a NetworkPolicy is not the cause."""
    observed = healthy()
    pods = tuple(replace(pod, foreign=pod.uid == "a") for pod in observed.pods)
    observed = replace(observed, pods=pods, states={**observed.states, "a": None})
    status, reason, message = condition(observed, ConditionType.CONFIGURATION_APPLIED)
    assert (status, reason) == ("Unknown", "PodsUnreachable")
    assert "shop-a: not made by this pool. Remove the label pgbouncer-operator.io/pool there." in message
