import io
import json
import sys

import pytest
from tests.localcluster import inquiry, waiting
from tests.localcluster.commands import main
from tests.localcluster.execution import run
from tests.localcluster.problem import Problem
from tests.localcluster.progress import Progress


def test_waiting_ends_as_soon_as_nothing_is_missing() -> None:
    answers = iter(["this", "that", ""])

    waiting.until(lambda: next(answers), seconds=60, pause=0)

    assert list(answers) == []


def test_what_was_missing_last_is_told_at_the_deadline() -> None:
    with pytest.raises(Problem, match="not within 0 s: a ready node"):
        waiting.until(lambda: "a ready node", seconds=0, pause=0)


def test_a_step_tells_its_start_its_end_and_how_long_it_took() -> None:
    out = io.StringIO()
    times = iter([100.0, 101.0, 101.0, 103.5, 103.5])

    with Progress(out, lambda: next(times)).step("building etcd"):
        pass

    assert out.getvalue() == "[   1.0 s] building etcd …\n[   3.5 s] building etcd: done in 2.5 s\n"


def test_a_step_that_failed_says_so() -> None:
    out = io.StringIO()

    with pytest.raises(Problem), Progress(out).step("building etcd"):
        raise Problem("no")

    assert "building etcd: failed in" in out.getvalue()


NODE = {
    "spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]},
    "status": {"conditions": [{"type": "Ready", "status": "False", "message": "no CNI"}]},
}
READY = {"conditions": [{"type": "Ready", "status": "True", "message": ""}]}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(None, "the node's registration", id="no node"),
        pytest.param({"spec": {}, "status": {}}, "a ready node: no word from kubelet yet", id="no condition"),
        pytest.param(NODE, "a ready node: no CNI", id="not ready"),
        pytest.param(
            NODE | {"status": READY}, "a node without the taints node.kubernetes.io/not-ready", id="still tainted"
        ),
        pytest.param({"spec": {}, "status": READY}, "", id="ready"),
    ],
)
def test_a_node_waits_for(answer: dict[str, object] | None, expected: str) -> None:
    assert inquiry.node_waits_for(None if answer is None else json.dumps(answer).encode()) == expected


@pytest.mark.parametrize("arguments", [[], ["restart"], ["load"], ["build", "helm5"]], ids=" ".join)
def test_a_wrong_command_line_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "usage: python3 -m tests.localcluster" in capsys.readouterr().err


def test_the_path_of_the_audit_log_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/big")

    assert main(["audit"]) == 0
    assert capsys.readouterr().out == "/big/pgbouncer-operator/cluster/logs/audit/audit.log\n"


def test_a_problem_is_told_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALCLUSTER", "minikube")

    assert main(["status"]) == 1
    assert capsys.readouterr().err == "localcluster: LOCALCLUSTER=minikube: it can be docker, podman or bare\n"


def test_a_long_error_keeps_its_beginning_and_its_end() -> None:
    program = "import sys; print('ERROR: no room'); print('where\\n' * 3000); print('the last'); sys.exit(3)"
    with pytest.raises(Problem) as raised:
        run([sys.executable, "-c", program])

    first, *_, last = str(raised.value).splitlines()[2:]
    assert (first, last) == ("ERROR: no room", "the last")
    assert len(str(raised.value)) < 3000
