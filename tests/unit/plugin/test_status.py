import pytest
from tests.unit.plugin.world import World, condition, served

from pgbouncer_operator.plugin.findings import RUNBOOKS

REFUSED = condition("BackendReachable", "False", "BackendRefusedLogin", "password authentication failed for user shop")
NOT_READY = {**REFUSED, "type": "Ready"}


def test_a_pool_is_one_line_in_the_words_of_its_status(world: World) -> None:
    world.put(served())
    answer = world.run("status")
    assert answer.code == 0
    head, line = answer.lines
    assert head.split() == ["NAME", "READY", "REASON", "PODS", "CONNECTIONS", "SIZE", "CLIENTS", "WAITING"]
    assert line.split() == ["shop-pool", "True", "Ready", "2/2", "7/25", "20/25", "40", "4"]


def test_a_pool_that_no_operator_has_seen_has_no_figures(world: World) -> None:
    world.put(served(summary=None, serverConnections=None, clients=None, conditions=[]))
    assert world.run("status").lines[1].split() == ["shop-pool", *"-" * 7]


def test_the_first_fault_stands_below_the_table_with_its_remedy_and_page(world: World) -> None:
    world.put(served(conditions=[NOT_READY, REFUSED]))
    _, _, *below = world.run("status").lines
    assert below == [
        "shop-pool",
        "  fault: BackendReachable=False: BackendRefusedLogin",
        "    why: password authentication failed for user shop",
        "    do: Correct login and password in the user's Secret, or pg_hba.conf on the server.",
        f"    runbook: {RUNBOOKS}/PgBouncerBackendDown.md",
    ]


def test_advice_stands_below_the_table(world: World) -> None:
    world.put(served(advice=[{"reason": "OverSized", "message": "12 connections would do."}]))
    assert world.run("status").lines[2:] == [
        "shop-pool",
        "  note: advice: OverSized",
        "    why: 12 connections would do.",
    ]


def test_one_namespace_or_all_and_one_pool_or_all(world: World) -> None:
    world.put(served("a"), served("b"), served("a", "other"))
    assert [line.split()[0] for line in world.run("status").lines] == ["NAME", "a", "b"]
    assert [line.split()[0] for line in world.run("status", "b").lines] == ["NAME", "b"]
    assert [line.split()[:2] for line in world.run("status", "-n", "other").lines[1:]] == [["a", "True"]]
    assert [line.split()[:2] for line in world.run("status", "-A").lines] == [
        ["NAMESPACE", "NAME"],
        ["default", "a"],
        ["default", "b"],
        ["other", "a"],
    ]
    assert [line.split()[:2] for line in world.run("status", "a", "-A").lines[1:]] == [["default", "a"], ["other", "a"]]


def test_json_has_the_figures_and_the_first_fault(world: World) -> None:
    world.put(served(conditions=[NOT_READY, REFUSED]), served("unseen", conditions=[], clients=None))
    found, unseen = world.run("status", "-o", "json").json["pools"]
    assert (found["name"], found["size"], found["waiting"]) == ("shop-pool", "20/25", 4)
    assert (found["fault"]["severity"], found["fault"]["reason"]) == ("fault", "BackendRefusedLogin")
    assert (unseen["ready"], unseen["clients"], unseen["fault"]) == (None, None, None)


def test_words_of_others_cannot_steer_the_terminal(world: World) -> None:
    world.put(served(conditions=[{**REFUSED, "message": "\x1b[2J[bold]gone[/bold]\n\u202eknip"}]))
    text = world.run("status").text
    assert "why:  [2J[bold]gone[/bold] knip" in text


def test_no_pool_is_said_on_standard_error(world: World) -> None:
    answer = world.run("status")
    assert (answer.code, answer.text) == (0, "")
    assert "There is no ConnectionPool here. -A shows every namespace." in answer.errors
    assert world.run("status", "-o", "json").json == {"pools": []}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status", "shop"), 'connectionpools.pgbouncer-operator.io "shop" not found'),
        (("status", "shop", "-A"), "No namespace has a ConnectionPool shop: correct the name."),
        (("--context", "other", "status"), 'context "other" does not exist'),
    ],
)
def test_what_kubectl_says_is_said_and_the_exit_code_is_2(world: World, arguments: tuple[str, ...], words: str) -> None:
    answer = world.run(*arguments)
    assert (answer.code, answer.text) == (2, "")
    assert words in answer.errors


def test_a_missing_right_is_named_with_the_command_that_asks_for_it(world: World) -> None:
    world.write(forbidden=["connectionpools.pgbouncer-operator.io"])
    errors = world.run("status").errors
    assert "is forbidden" in errors
    assert "`kubectl auth can-i get connectionpools.pgbouncer-operator.io`" in errors


def test_a_cluster_without_the_definitions_is_named(world: World) -> None:
    world.write(served=[])
    assert "Install the operator, or choose its cluster with --context." in world.run("status").errors


def test_a_machine_without_kubectl_is_told_where_to_get_it(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
    answer = world.run("status")
    assert answer.code == 2
    assert "kubectl is not on PATH: install it" in answer.errors


def test_other_words_on_kubectls_standard_error_pass_through(world: World) -> None:
    assert "a credential plugin says hello\n" in world.run("status").errors


def test_a_wrong_argument_is_bad_usage(world: World) -> None:
    assert world.run("status", "--nonsense").code == 2
