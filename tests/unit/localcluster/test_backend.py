import pytest
from tests.localcluster import backend, images_engine
from tests.localcluster.problem import Problem


def possible() -> str:
    return ""


def impossible() -> str:
    return "it needs root"


@pytest.mark.parametrize(
    ("answering", "wish", "chosen"),
    [
        pytest.param({"docker"}, "", "docker", id="docker when it answers"),
        pytest.param({"podman"}, "", "podman", id="podman when it answers"),
        pytest.param({"docker", "podman"}, "", "docker", id="docker before podman"),
        pytest.param(set(), "", "bare", id="bare when no engine answers"),
        pytest.param({"docker"}, "bare", "bare", id="bare when wished, whatever answers"),
        pytest.param({"docker", "podman"}, "podman", "podman", id="podman when wished"),
    ],
)
def test_the_backend_is(answering: set[str], wish: str, chosen: str) -> None:
    assert backend.choose({"LOCALCLUSTER": wish}, answering.__contains__, possible) == chosen


def test_an_engine_of_ones_choice_that_does_not_answer_is_not_replaced_by_another() -> None:
    with pytest.raises(Problem, match="LOCALCLUSTER=podman: `podman info` does not answer"):
        backend.choose({"LOCALCLUSTER": "podman"}, {"docker"}.__contains__, possible)


def test_an_unknown_choice_names_the_known_ones() -> None:
    with pytest.raises(Problem, match="LOCALCLUSTER=minikube: it can be docker, podman or bare"):
        backend.choose({"LOCALCLUSTER": "minikube"}, {"docker"}.__contains__, possible)


def test_where_nothing_is_possible_both_ways_out_are_named() -> None:
    with pytest.raises(Problem) as problem:
        backend.choose({}, set[str]().__contains__, impossible)

    assert "install Docker or Podman" in str(problem.value)
    assert "it needs root" in str(problem.value)


@pytest.mark.parametrize(
    ("wish", "answering", "chosen"),
    [
        ("", {"docker", "podman"}, "docker"),
        ("podman", {"docker", "podman"}, "podman"),
        ("podman", {"docker"}, None),
        ("bare", {"docker"}, "docker"),
        ("", set(), None),
    ],
)
def test_images_are_built_by_the_engine_that_one_chose(wish: str, answering: set[str], chosen: str | None) -> None:
    engine = images_engine.answering({"LOCALCLUSTER": wish}, lambda program: program in answering)

    assert (engine.program if engine else None) == chosen
