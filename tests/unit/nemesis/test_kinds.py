from tests.nemesis.kinds import BROKEN, KINDS, table
from tests.nemesis.observation import loads
from tests.nemesis.promises import READY_SECONDS, Promise

STATED = {"the Service itself is deleted", "a pod is deleted by force"}
FEWEST = 20


def test_there_are_enough_kinds_and_each_is_a_function_of_its_own() -> None:
    assert len(KINDS) - len(BROKEN) >= FEWEST
    assert len({kind.act for kind in KINDS.values()}) == len(KINDS)
    assert len({kind.what for kind in KINDS.values()}) == len(KINDS)


def test_no_exception_is_used_that_the_promises_do_not_state() -> None:
    exemptions = [kind.exemption for kind in KINDS.values() if kind.exemption]
    assert {each.reason for each in exemptions} <= STATED
    assert {promise for each in exemptions for promise in each.excuses} <= {Promise.FAILED, Promise.REFUSED}
    assert {each.ready_seconds for each in exemptions} <= {READY_SECONDS, 45.0}


def test_a_broken_kind_is_a_kind_and_names_its_fault() -> None:
    assert set(BROKEN) <= set(KINDS)
    assert all(BROKEN.values())


def test_the_documents_list_every_kind_that_breaks_no_promise() -> None:
    assert [line.split("`")[1] for line in table().splitlines()[2:]] == [name for name in KINDS if name not in BROKEN]


def test_sixty_clients_work_at_the_pools() -> None:
    counts = [each.arguments[1] if "--clients" in each.arguments else each.arguments[0] for each in loads()]
    assert sum(map(int, counts)) == 60
