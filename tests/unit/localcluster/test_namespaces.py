from pathlib import Path

import pytest
from tests.localcluster import addresses, namespaces
from tests.localcluster.layout import Layout
from tests.localcluster.namespaces import Process

FILES = Layout(Path("/cache"), "v1.2.3")
OURS, THEIRS = "pid:[1]", "pid:[2]"


@pytest.mark.parametrize(
    ("argv", "namespace", "holder"),
    [
        pytest.param(("/cache/v1.2.3/bin/pause", "/cache/cluster"), THEIRS, True, id="the holder"),
        pytest.param(("/cache/v1.0.0/bin/pause", "/cache/cluster"), THEIRS, True, id="one of another version"),
        pytest.param(("/cache/v1.2.3/bin/pause", "/cache/cluster"), OURS, False, id="not in a namespace of its own"),
        pytest.param(("/cache/v1.2.3/bin/pause", "/other/cluster"), THEIRS, False, id="another cluster's"),
        pytest.param(("/pause",), THEIRS, False, id="a pod's"),
        pytest.param(("vi", "/cache/cluster"), THEIRS, False, id="another program"),
        pytest.param(("unshare", "/cache/v1.2.3/bin/pause", "/cache/cluster"), OURS, False, id="the holder's parent"),
    ],
)
def test_a_process_is_the_holder(argv: tuple[str, ...], namespace: str, holder: bool) -> None:
    assert namespaces.is_holder(Process(7, argv, namespace), FILES, OURS) is holder


def test_the_holders_of_two_nodes_are_told_apart() -> None:
    other = FILES.of(addresses.SECOND)
    ours, others = (Process(7, namespaces.holder_command(each), THEIRS) for each in (FILES, other))

    assert namespaces.is_holder(others, other, OURS)
    assert not namespaces.is_holder(others, FILES, OURS)
    assert not namespaces.is_holder(ours, other, OURS)


def test_the_end_of_the_holders_parent_is_waited_for_too() -> None:
    parent = ("unshare", "--pid", "/cache/v1.2.3/bin/pause", "/cache/cluster")

    assert namespaces.runs_pause(Process(6, parent, OURS), FILES)
    assert not namespaces.runs_pause(Process(8, ("/pause",), THEIRS), FILES)


def test_a_command_among_the_clusters_processes_enters_by_nsenter() -> None:
    holder = Process(77, namespaces.holder_command(FILES), THEIRS)

    assert namespaces.entered(holder, "ip", "link") == [
        *("nsenter", "--target", "77", "--pid", "--net", "--mount", "--"),
        *("ip", "link"),
    ]


def test_this_test_is_among_the_processes_that_are_seen() -> None:
    assert any("pytest" in " ".join(process.argv) for process in namespaces.processes())
