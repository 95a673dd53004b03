"""Which of the two ways to a cluster this machine offers."""

import os
import shutil
from collections.abc import Callable, Mapping

from tests.localcluster import bare
from tests.localcluster.execution import succeeds
from tests.localcluster.problem import Problem

ENGINES = ("docker", "podman")
CHOICE = "LOCALCLUSTER"  # environment variable: docker, podman or bare, to choose oneself

Answers = Callable[[str], bool]


def engine_answers(engine: str) -> bool:
    """Whether the engine is installed and its daemon, if it has one, answers."""
    return shutil.which(engine) is not None and succeeds([engine, "info"])


def choose(
    environment: Mapping[str, str] = os.environ,
    answers: Answers = engine_answers,
    bare_impossible: Callable[[], str] = bare.possible,
) -> str:
    """docker, podman or bare. Problem when none is possible, or an impossible one was chosen."""
    wish = environment.get(CHOICE, "")
    if wish and wish not in (*ENGINES, "bare"):
        raise Problem(f"{CHOICE}={wish}: it can be {', '.join(ENGINES)} or bare")
    for engine in ENGINES:
        if wish in ("", engine) and answers(engine):
            return engine
    if wish in ENGINES:
        raise Problem(f"{CHOICE}={wish}: `{wish} info` does not answer: install or start it")
    if reason := bare_impossible():
        raise Problem(
            "no cluster is possible here. Either install Docker or Podman, start it, and see that `docker info` or "
            f"`podman info` answers. Or run without any, but {reason}."
        )
    return "bare"
