import subprocess
from pathlib import Path

from tests.localcluster import environment
from tests.localcluster.layout import Layout

AWKWARD = Layout(Path("/home/o'neil $HOME/a b"), "v1.2.3")


def shell(text: str, ask: str) -> str:
    done = subprocess.run(["/bin/sh", "-c", f"PATH=/usr/bin:/bin\n{text}\n{ask}"], capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


def test_a_shell_that_evaluates_the_lines_gets_the_kubeconfig_whatever_the_path_holds() -> None:
    assert shell(environment.exports(AWKWARD), 'printf %s "$KUBECONFIG"') == str(AWKWARD.kubeconfig)


def test_a_shell_that_evaluates_the_lines_finds_our_programs_before_its_own() -> None:
    assert shell(environment.exports(AWKWARD), 'printf %s "$PATH"') == f"{AWKWARD.programs}:/usr/bin:/bin"


def test_lines_evaluated_in_another_shells_command_substitution_work_too() -> None:
    text = f"eval \"$(cat <<'LINES'\n{environment.exports(AWKWARD)}LINES\n)\""

    assert shell(text, 'printf %s "$KUBECONFIG"') == str(AWKWARD.kubeconfig)


def test_a_process_keeps_its_other_variables() -> None:
    found = environment.variables(AWKWARD, {"PATH": "/bin", "LANG": "C"})

    assert found == {
        "LANG": "C",
        "PATH": f"{AWKWARD.programs}:/bin",
        "KUBECONFIG": str(AWKWARD.kubeconfig),
    }
